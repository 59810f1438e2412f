"""The controller service: a state's next sub-goal, on port 8001."""
