"""Clients of the services."""
