"""What stands in front of every route: connections, hosts, keys, bounds, errors."""
