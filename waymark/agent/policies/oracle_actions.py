"""Plays the simulator's own path, action by action. Shows the highest score of a world, and whether the stack reaches
it.

No model is asked and no rule of play acts. If the path ends before the task is solved, the agent waits, like any agent
that believes it is done. The protocol's limits apply: a path with more than `moves` moves is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator

from waymark.agent.running_episode import Play
from waymark.contracts import TurnRecord


class OracleActionsPolicy:
    """Implements `Policy`."""

    repetition = ()

    def __init__(self, play: Play) -> None:
        self._play = play
        self._actions: Iterator[str] = iter(play.plan)

    async def turn(self) -> TurnRecord:
        """Take the next action of the path."""
        play = self._play
        play.begin_turn()
        action = next(self._actions, play.world.waiting_action)
        if action is None:
            play.completed = True
            return play.ended(None, controller_called=False)
        return play.acted(await play.step(action), action, subgoal=None, controller_called=False)
