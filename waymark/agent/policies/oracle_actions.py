"""The simulator's own path, action by action: what can be had in a world, and whether the stack delivers it.

No model is asked and no rule of play acts. Where the path ends before its task does, the agent waits, as one does that
believes it is done. The protocol's limits hold: a path that is longer than `moves` is cut off there.
"""

from __future__ import annotations

from collections.abc import Iterator

from waymark.agent.play import Play
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
