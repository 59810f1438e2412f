"""The commands of `python -m training`, one module for each group; `shared` holds common options."""
