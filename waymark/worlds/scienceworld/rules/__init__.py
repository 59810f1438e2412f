"""Rules of play for ScienceWorld."""
