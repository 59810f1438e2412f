"""Text environments, each a plug-in in a package of its own behind `waymark.worlds.base`.

Nothing outside this package, `training.worlds` and `registry` imports a world; import-linter holds that.
"""
