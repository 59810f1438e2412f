"""Code that runs before every route: connections, host names, keys, limits, errors."""
