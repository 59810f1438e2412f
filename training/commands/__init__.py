"""The commands of `python -m training`, one module for each group; `common_options` holds what several share."""
