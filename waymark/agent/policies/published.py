"""The loop as published (Hashemzadeh et al., CoLLAs 2024): the models' best answers are followed as they are.

- The controller is asked at every step, before the executor. Its best answer is added to the sub-goals given if it
  differs from the last; `complete_task()` is a sub-goal like any other. At the first step a checkpoint `first` answers
  instead, where the controller has loaded one.
- The executor's sub-goal has ended if `END_SG()` is anywhere among its beams. That costs a turn and no move.
- An action that the environment does not know, or text that is no action at all, is replaced as
  `AgentConfig.repair_by` says; published is `similarity`.
- The flat agent stops when its last ten actions are exactly two distinct ones. All other limits are the protocol's.

No rule of play of ours applies: nothing is refused, looked for again, cut short or judged by what it stakes. What
differs from the published code all the same is listed in docs/reference/published-method.md.
"""

from __future__ import annotations

from waymark.agent.play import Play
from waymark.agent.policies.repairs import open_repair
from waymark.agent.readable import decisions_of, subgoals_of
from waymark.contracts import ActionResponse, TurnRecord


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
            for subgoal, _ in subgoals_of(await play.ask_controller(play.state, n=1))[:1]:
                play.fold.give_subgoal(subgoal)
        answer = await play.ask_executor(n=1)
        said = decisions_of(answer)
        if not said:
            return await self._replace_unparsed(answer, controller_called=asked)
        logprob = said[0].logprob
        actions = [one.action for one in said if one.action is not None]
        ended = any(one.action is None for one in said)
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

    async def _replace_unparsed(self, answer: ActionResponse, *, controller_called: bool) -> TurnRecord:
        """No beam is an action: the repair finds one for the raw text, as for any text that the environment lacks."""
        play, raw = self._play, answer.raw or ""
        logprob = answer.alternatives[0].logprob if answer.alternatives else None
        replacement = await self._repair.replace([raw], taken=()) if self._repair is not None else None
        if replacement is None:
            return play.ended(logprob, controller_called=controller_called, unparsed=raw)
        return play.acted(
            await play.step(replacement),
            replacement,
            subgoal=play.state.current_subgoal,
            controller_called=controller_called,
            proposed=raw,
            logprob=logprob,
            repaired=True,
        )

    def _is_time_to_ask(self) -> bool:
        return self._play.agent.controller_calls == "every_step" or self._play.state.subgoal_step is None
