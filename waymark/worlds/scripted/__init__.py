"""A small fixed world for tests and trials, without Java."""
