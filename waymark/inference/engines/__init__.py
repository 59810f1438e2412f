"""What models run on: one module an engine."""
