"""The executor service: a state's next action, on port 8002."""
