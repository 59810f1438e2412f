"""The processes of a running Waymark. They import `waymark`, and neither each other nor `training`."""
