"""TextWorldExpress: paths to learn from."""
