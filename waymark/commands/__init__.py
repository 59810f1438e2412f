"""The commands of `waymark`, a module for each group; `waymark.cli.main` registers them."""
