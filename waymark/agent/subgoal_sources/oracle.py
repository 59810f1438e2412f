"""The sub-goals of the simulator's own path through a variation, for comparison with the controller's.

The path is played once before the episode. Its objects get the names of the simulator's observations, because executors
are trained on paths that name things as the agent sees them. The rule annotator then splits it into sub-goals.
"""

from __future__ import annotations

from waymark.agent.world_port import AgentWorld
from waymark.worlds.base import SOLVED, Environment
from waymark.worlds.registry import agent_world


def subgoals(
    environment: Environment, task_id: str, variation: int, options: str, world: AgentWorld | None = None
) -> list[str]:
    """The sub-goals of one variation's oracle path. Takes seconds; call `reset` next. Raises EnvironmentFault."""
    world = world or agent_world()
    actions = world.clean_path(environment.gold_path(task_id, variation, options))
    opening = environment.reset(task_id, variation, options)
    seen = opening.look + opening.inventory
    path: list[tuple[str, str]] = []
    for action in actions:
        step = environment.step(action)
        if step.known:
            path.append((world.plain_action(action, step.observation, seen), step.observation))
        if step.completed or step.score >= SOLVED:
            break
        seen = step.look + step.inventory
    return world.annotated(opening.task, path)
