"""The commands of `waymark`, a module for each group; `waymark.cli` registers them."""
