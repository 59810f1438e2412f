"""The offline part: from oracle paths to checkpoints."""
