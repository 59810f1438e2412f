"""The published method from the simulator to its table, by one command: `python -m training reproduce`."""
