"""The method: the agent's state, the episode loop and the sources of sub-goals. Imports no world."""
