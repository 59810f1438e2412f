"""The method: the agent's state, the episode loop and where sub-goals come from. Knows no world."""
