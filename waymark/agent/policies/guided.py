"""The loop with rules of play. Rules keep small models from going in circles and from risking the score without need.

`AgentConfig.rules` names the rules that an agent uses; `waymark.agent.rules` and the world describe each rule. Without
rules, the models' best answers are followed as they are. For every agent:

- The sub-goals come from the source that the agent names (`waymark.agent.subgoal_sources`); the flat agent has none.
- Text that cannot be parsed as an action (`parsed` is false) is never executed. Unless a rule finds an action, the
  sub-goal ends.
- If the agent believes that it is done and has no other sub-goal, it waits for a move and asks again, because the
  environment ends a solved episode itself. In a world without a waiting action its episode ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from waymark.agent.policies.unknown_actions import ALTERNATIVES, UnknownActionReplacer
from waymark.agent.rules import (
    STUCK_AFTER,
    ActionRule,
    AskAgain,
    NoRepeatAction,
    ReplacementRule,
    Stuck,
    SubgoalRule,
)
from waymark.agent.running_episode import Play
from waymark.agent.state import COMPLETE, Scene, scene
from waymark.agent.subgoal_sources import SubgoalSource
from waymark.agent.subgoal_sources.at_random import RandomSource, SemiRandomSource
from waymark.agent.subgoal_sources.controller import ControllerSource
from waymark.agent.subgoal_sources.plan import PlanSource
from waymark.agent.usable_alternatives import Decision, decisions_of
from waymark.contracts import ActionResponse, TurnRecord


class GuidedPolicy:
    """Implements `Policy`."""

    repetition = (1, 2)

    def __init__(self, play: Play) -> None:
        self._play = play
        self._rules = play.rules
        self._source = open_source(play)
        self._replacer = UnknownActionReplacer(play)
        self._ended_in_a_row = 0
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
        self._ended_in_a_row = 0
        if waiting is None:
            play.completed = True
            return play.ended(None, controller_called=True)
        return play.acted(await play.step(waiting), waiting, subgoal=COMPLETE, controller_called=True)

    async def _execute(self, *, controller_called: bool) -> TurnRecord:
        play = self._play
        stuck = Stuck in self._rules and self._ended_in_a_row >= STUCK_AFTER
        if stuck:
            self._rules.record(Stuck)
        answer = await play.ask_executor(n=ALTERNATIVES if stuck else 1)
        if not answer.parsed and not stuck and AskAgain in self._rules:
            self._rules.record(AskAgain)
            answer = await play.ask_executor(n=ALTERNATIVES)
        decisions = decisions_of(answer)
        if not decisions:
            return await self._execute_unparsed(answer, controller_called=controller_called)
        proposed, logprob = decisions[0]
        action = proposed
        taken = self._taken[scene(play.state, play.world), play.state.current_subgoal]
        if action is None and stuck:
            action = next((decision.action for decision in decisions if decision.action is not None), None)
        elif action is not None and (refusing := self._refusing(decisions[0], taken)):
            self._rules.record(*refusing)
            action = await self._another(decisions[0], taken)
        if action is None:
            self._ended_in_a_row += 1
            return play.ended(logprob, controller_called=controller_called)
        replacement = self._replacement_by_rule(action, taken)
        action = replacement or action
        taken.add(action)
        step = await play.step(action)
        if not step.known:
            replacement = await self._replacer.replace([action], taken=taken if play.state.current_subgoal else ())
        if replacement is not None and replacement != action:
            taken.add(replacement)
            step = await play.step(replacement)
        self._ended_in_a_row = 0
        return play.acted(
            step,
            replacement or action,
            subgoal=play.state.current_subgoal,
            controller_called=controller_called,
            proposed=proposed,
            logprob=logprob,
            repaired=replacement is not None,
        )

    async def _another(self, refused: Decision, taken: Collection[str]) -> str | None:
        """The best of the executor's five actions that was not taken before and that no rule about risks refuses.

        If there is none: the refused action if it was refused only because it was taken before, else the world's
        waiting action.
        """
        others = decisions_of(await self._play.ask_executor(n=ALTERNATIVES))
        repeats = NoRepeatAction in self._rules
        for decision in others:
            if decision.action is None or (self._is_allowed(decision) and not (repeats and decision.action in taken)):
                return decision.action
        return refused.action if self._is_allowed(refused) else self._play.world.waiting_action or refused.action

    async def _execute_unparsed(self, answer: ActionResponse, *, controller_called: bool) -> TurnRecord:
        """The executor wrote no action: take what a rule finds in its place, else end the sub-goal.

        The text counts as an action that the environment does not know, but is never sent there.
        """
        play, raw = self._play, answer.raw or ""
        logprob = answer.alternatives[0].logprob if answer.alternatives else None
        subgoal = play.state.current_subgoal
        action = self._replacer.proposal([raw], barred=())
        taken = self._taken[scene(play.state, play.world), subgoal]
        for rule in self._rules.of(ReplacementRule):
            meant = await rule.replace_unreadable(action)
            if meant is not None and (meant not in taken or meant.startswith(play.world.repeatable)):
                self._rules.record(rule)
                taken.add(meant)
                step = await play.step(meant)
                self._ended_in_a_row = 0
                return play.acted(
                    step,
                    meant,
                    subgoal=subgoal,
                    controller_called=controller_called,
                    proposed=raw,
                    logprob=logprob,
                    repaired=True,
                )
        self._ended_in_a_row += 1
        return play.ended(logprob, controller_called=controller_called, unparsed=raw)

    def _replacement_by_rule(self, action: str, taken: Collection[str]) -> str | None:
        """The action with which a rule replaces the proposed one before it is tried; None: no rule replaces it."""
        subgoal = self._play.state.current_subgoal
        if subgoal is None:
            return None
        for rule in self._rules.of(ReplacementRule):
            meant = rule.instead_of(action, subgoal)
            if meant is not None and meant not in taken:
                self._rules.record(rule)
                return meant
        return None

    def _refusing(self, decision: Decision, taken: Collection[str]) -> list[ActionRule]:
        """The rules that refuse the executor's best action."""
        return [rule for rule in self._action_rules() if not self._allows(rule, decision, taken)]

    def _is_allowed(self, decision: Decision) -> bool:
        """Whether no rule refuses the action, apart from the rule about actions that were taken before."""
        return all(self._allows(rule, decision, ()) for rule in self._action_rules())

    def _allows(self, rule: ActionRule, decision: Decision, taken: Collection[str]) -> bool:
        assert decision.action is not None
        return rule.allows(decision.action, decision.logprob, self._play.state, taken)

    def _action_rules(self) -> list[ActionRule]:
        """The rules about actions. If the agent has sub-goals, rules about sub-goals have already judged the risk."""
        rules = self._rules.of(ActionRule)
        return rules if self._source is None else [rule for rule in rules if not isinstance(rule, SubgoalRule)]


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
