"""The loop with rules of play. Rules keep small models from repeating themselves and from naming what is not there.

`AgentConfig.rules` names the rules that an agent uses; `waymark.agent.rules` and the world describe each rule. Without
rules, the models' best answers are followed as they are. For every agent:

- The sub-goals come from the source that the agent names (`waymark.agent.subgoal_sources`); the flat agent has none.
- Text that cannot be parsed as an action (`parsed` is false) is never executed. The sub-goal goes on, and the executor
  is asked again.
- If the agent believes that it is done and has no other sub-goal, it waits for a move and asks again, because the
  environment ends a solved episode itself. In a world without a waiting action its episode ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from waymark.agent.policies.unknown_actions import UnknownActionReplacer
from waymark.agent.rules import ActionRule
from waymark.agent.running_episode import Play
from waymark.agent.state import COMPLETE, Scene, scene
from waymark.agent.subgoal_sources import SubgoalSource
from waymark.agent.subgoal_sources.at_random import RandomSource, SemiRandomSource
from waymark.agent.subgoal_sources.controller import ControllerSource
from waymark.agent.subgoal_sources.plan import PlanSource
from waymark.agent.usable_alternatives import decisions_of
from waymark.contracts import ActionResponse, TurnRecord

ALTERNATIVES = 5
"""Number of actions that the executor is asked for after a rule refused its first one."""


class GuidedPolicy:
    """Implements `Policy`."""

    repetition = (1, 2)

    def __init__(self, play: Play) -> None:
        self._play = play
        self._rules = play.rules
        self._source = open_source(play)
        self._replacer = UnknownActionReplacer(play)
        self._taken: defaultdict[tuple[Scene, str | None], set[str]] = defaultdict(set)

    async def turn(self) -> TurnRecord:
        """Play one turn: perhaps ask for a sub-goal, then act or learn that the sub-goal has ended."""
        play = self._play
        play.begin_turn()
        if self._source is None or not play.wants_subgoal:
            return await self._execute(controller_called=False)
        subgoal = await self._source.next(play.state)
        if subgoal is None:
            return await self._wait()
        play.fold.give_subgoal(subgoal)
        return await self._execute(controller_called=True)

    async def _wait(self) -> TurnRecord:
        """The agent believes that it is done."""
        play, waiting = self._play, self._play.world.waiting_action
        if waiting is None:
            play.completed = True
            return play.ended(None, controller_called=True)
        return play.acted(await play.step(waiting), waiting, subgoal=COMPLETE, controller_called=True)

    async def _execute(self, *, controller_called: bool) -> TurnRecord:
        play = self._play
        answer = await play.ask_executor(n=1)
        decisions = decisions_of(answer)
        if not decisions:
            return self._unparsed(answer, controller_called=controller_called)
        proposed, logprob = decisions[0]
        action = proposed
        taken = self._taken[scene(play.state, play.world), play.state.current_subgoal]
        if action is not None and (refusing := self._refusing(action, taken)):
            self._rules.record(*refusing)
            action = await self._another(action, taken)
        if action is None:
            return play.ended(logprob, controller_called=controller_called)
        taken.add(action)
        step = await play.step(action)
        replacement = None
        if not step.known:
            replacement = await self._replacer.replace([action], taken=taken if play.state.current_subgoal else ())
        if replacement is not None and replacement != action:
            taken.add(replacement)
            step = await play.step(replacement)
        return play.acted(
            step,
            replacement or action,
            subgoal=play.state.current_subgoal,
            controller_called=controller_called,
            proposed=proposed,
            logprob=logprob,
            repaired=replacement is not None,
        )

    async def _another(self, refused: str, taken: Collection[str]) -> str | None:
        """The first of the executor's five answers that is no refused action; None if it ends the sub-goal; the refused
        action if there is no such answer."""
        for decision in decisions_of(await self._play.ask_executor(n=ALTERNATIVES)):
            if decision.action is None or not self._refusing(decision.action, taken):
                return decision.action
        return refused

    def _unparsed(self, answer: ActionResponse, *, controller_called: bool) -> TurnRecord:
        """The executor wrote no action. The text counts as an action that the environment does not know, but is never
        sent there."""
        logprob = answer.alternatives[0].logprob if answer.alternatives else None
        return self._play.ended(logprob, controller_called=controller_called, unparsed=answer.raw or "")

    def _refusing(self, action: str, taken: Collection[str]) -> list[ActionRule]:
        """The rules that refuse one of the executor's actions."""
        return [rule for rule in self._rules.of(ActionRule) if not rule.allows(action, taken)]


def open_source(play: Play) -> SubgoalSource | None:
    """Where this agent's sub-goals come from."""
    match play.agent.subgoals:
        case "controller":
            return ControllerSource(play.ask_controller, play.rules, play.world)
        case "semi_random":
            controller = ControllerSource(play.ask_controller, play.rules, play.world)
            return SemiRandomSource(controller, play.rng(), play.world)
        case "random":
            return RandomSource(play.rng(), play.world)
        case "oracle" | "llm_plan":
            return PlanSource(play.plan)
        case "none":
            return None
