"""The processes of a running Waymark. They import `waymark`, never each other, never `training`."""
