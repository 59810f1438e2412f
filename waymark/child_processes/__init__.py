"""Processes that this one starts: how they are started, watched until they are ready, and ended."""
