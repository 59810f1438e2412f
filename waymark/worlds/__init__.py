"""Text environments, each a plug-in behind `waymark.worlds.base`."""
