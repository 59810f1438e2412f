"""Side-by-side ratios, each one command: `python -m benchmarks.NAME`."""
