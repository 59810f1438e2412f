"""Training: from oracle paths to checkpoints."""
