"""The loop as published (Hashemzadeh et al., CoLLAs 2024): the models' best answers are followed as they are.

- The controller is asked at every step, before the executor. Its best answer is appended to the list of sub-goals if it
  differs from the last one; `complete_task()` is a sub-goal like any other. At the first step the checkpoint `first`
  answers instead, if the controller service has loaded one.
- The executor's sub-goal has ended if `END_SG()` is anywhere among its beams. That costs a turn and no move.
- An action that the environment does not know, or text that cannot be parsed as an action, is replaced as
  `AgentConfig.repair_by` says; `similarity` is the published way.
- The flat agent stops when its last ten actions are exactly two distinct ones. All other limits are the protocol's.

No other rule of play applies (`AgentConfig.rules` is not read): nothing is refused, asked for again or ended early.
docs/reference/published-method.md lists the remaining differences from the published code.
"""

from __future__ import annotations

from waymark.agent.policies.unknown_actions import UnknownActionReplacer
from waymark.agent.running_episode import Play
from waymark.agent.usable_alternatives import decisions_of, subgoals_of
from waymark.contracts import ActionResponse, TurnRecord


class PublishedPolicy:
    """Implements `Policy`. Sub-goals come from the controller, or there are none; no others are allowed."""

    repetition = (2,)

    def __init__(self, play: Play) -> None:
        self._play = play
        self._replacer = UnknownActionReplacer(play)
        self._hierarchical = play.agent.subgoals == "controller"

    async def turn(self) -> TurnRecord:
        """Ask the controller, then the executor, and take its action."""
        play = self._play
        play.begin_turn()
        asks_controller = self._hierarchical and play.wants_subgoal
        if asks_controller:
            for subgoal, _ in subgoals_of(await play.ask_controller(play.state, n=1))[:1]:
                play.fold.give_subgoal(subgoal)
        answer = await play.ask_executor(n=1)
        decisions = decisions_of(answer)
        if not decisions:
            return await self._replace_unparsed(answer, controller_called=asks_controller)
        logprob = decisions[0].logprob
        actions = [decision.action for decision in decisions if decision.action is not None]
        ended = any(decision.action is None for decision in decisions)
        if not actions or (ended and self._hierarchical):
            return play.ended(logprob, controller_called=asks_controller)
        action, replacement = actions[0], None
        step = await play.step(action)
        if not step.known:
            replacement = await self._replacer.replace(actions, taken=())
        if replacement is not None:
            step = await play.step(replacement)
        return play.acted(
            step,
            replacement or action,
            subgoal=play.state.current_subgoal,
            controller_called=asks_controller,
            proposed=action,
            logprob=logprob,
            repaired=replacement is not None,
        )

    async def _replace_unparsed(self, answer: ActionResponse, *, controller_called: bool) -> TurnRecord:
        """No beam could be parsed as an action: replace its raw text like an unknown action."""
        play, raw = self._play, answer.raw or ""
        logprob = answer.alternatives[0].logprob if answer.alternatives else None
        replacement = await self._replacer.replace([raw], taken=())
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
