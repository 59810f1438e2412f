"""The loop as published (Hashemzadeh et al., CoLLAs 2024): the models' best answers are followed as they are.

- The controller is asked at every step, before the executor. Its best answer is added to the sub-goals given if it
  differs from the last; `complete_task()` is a sub-goal like any other. At the first step a checkpoint `first` answers
  instead, where the controller has loaded one.
- The executor's sub-goal has ended if `END_SG()` is anywhere among its beams. That costs a turn and no move.
- An action that the environment does not know is replaced as `AgentConfig.repair_by` says; published is `similarity`.
- The flat agent stops when its last ten actions are exactly two distinct ones. All other limits are the protocol's.

No rule of play of ours applies: nothing is refused, looked for again, cut short or judged by what it stakes. What
differs from the published code all the same is listed in docs/reference/published-method.md.
"""

from __future__ import annotations

from waymark.contracts import TurnRecord
from waymark.play import Play
from waymark.policies.repairs import open_repair
from waymark.subgoal_sources.controller import phrase


class PublishedPolicy:
    """Implements `Policy`. Sub-goals come from the controller, or there are none: `AgentConfig` allows no others."""

    repetition = (2,)

    def __init__(self, play: Play) -> None:
        self._play = play
        self._repair = open_repair(play)
        self._hierarchical = play.agent.subgoals == "controller"

    async def turn(self) -> TurnRecord:
        """Ask the controller, then the executor, and do what it says."""
        play = self._play
        play.begin_turn()
        asked = self._hierarchical and self._is_time_to_ask()
        if asked:
            subgoal = (await play.ask_controller(play.state, n=1)).subgoal
            play.fold.give_subgoal(phrase(subgoal))
        answer = await play.ask_executor(n=1)
        logprob = answer.alternatives[0].logprob if answer.alternatives else None
        actions = [phrase(one.action) for one in answer.alternatives if one.action is not None]
        ended = any(one.action is None for one in answer.alternatives)
        if not actions or (ended and self._hierarchical):
            return play.ended(logprob, controller_called=asked)
        action, replacement = actions[0], None
        step = await play.step(action)
        if not step.known and self._repair is not None:
            replacement = await self._repair.replace(actions, taken=())
        if replacement is not None:
            step = await play.step(replacement)
        return play.acted(
            step,
            replacement or action,
            subgoal=play.state.current_subgoal,
            controller_called=asked,
            proposed=action,
            logprob=logprob,
            repaired=replacement is not None,
        )

    def _is_time_to_ask(self) -> bool:
        return self._play.agent.controller_calls == "every_step" or self._play.state.subgoal_step is None
