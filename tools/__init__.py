"""Tools for developers. Nothing here is part of the wheel."""
