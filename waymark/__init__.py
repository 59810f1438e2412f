"""Waymark: serving small hierarchical language agents for ScienceWorld.

Importing this package opens nothing: no socket, no model, no JVM.
"""

__version__ = "0.1.0"
