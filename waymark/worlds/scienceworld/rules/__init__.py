"""ScienceWorld's own rules of play. `waymark.worlds.scienceworld.agent_world` lists them with the generic ones."""
