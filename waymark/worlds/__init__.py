"""Text environments, each a plug-in in a package of its own behind `waymark.worlds.base`.

Only `registry`, this package and `training.worlds` import a world; import-linter enforces it.
"""
