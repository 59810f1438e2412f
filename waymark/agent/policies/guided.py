"""Waymark's rules of play: they keep small models from going in circles, and from staking a score lightly.

Where sub-goals come from is an option of the agent: `waymark.agent.subgoal_sources` has a source for each, the rules
for choosing among a controller's several included. The flat agent has none; all else is the same loop. Choices that the
publication leaves open, or that keep the loop from going in circles:

- What stakes the score (`waymark.worlds.scienceworld.rules.risk`) is followed only if it is likely enough: sub-goals,
  or the actions of an agent without them.
- An action that was taken in this very scene (look and inventory) for this sub-goal is not taken again if the
  executor has another. Waiting and measuring are meant to be repeated. A counted wait ends when it is counted,
  watching a thermometer once what it watches has changed and been read, and every other sub-goal after more actions
  than any took along an oracle path.
- What repairs an action first is the sub-goal itself, where it says the action; one of the same verb that leaves
  out what the sub-goal names is repaired before it is taken, since that would be valid and wrong. For one sub-goal no
  repair is made twice in a scene, but of waiting and measuring. A sub-goal whose action the environment does not know,
  and nothing repairs, has ended.
- The simulator ends a solved episode itself, so an agent that believes it is done waits one move (`wait1`), and is
  asked again.
- After three sub-goals ended without an action between them, the executor is asked for five answers, and the first
  that is an action is taken.
- Text that is no action (`parsed` is false) is never executed. The executor is asked for five answers, and the best
  that is an action is taken; if none is, the action that the sub-goal itself spells out, or the sub-goal ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from waymark.agent.play import Play
from waymark.agent.policies.repairs import ALTERNATIVES, open_repair
from waymark.agent.readable import decisions_of
from waymark.agent.state import Scene, scene
from waymark.agent.subgoal_sources import SubgoalSource
from waymark.agent.subgoal_sources.controller import REPEATABLE, ControllerSource
from waymark.agent.subgoal_sources.drawn import RandomSource, SemiRandomSource
from waymark.agent.subgoal_sources.plan import PlanSource
from waymark.contracts import ActionResponse, TurnRecord
from waymark.worlds.scienceworld.rules import repair
from waymark.worlds.scienceworld.rules.risk import is_worth_it
from waymark.worlds.scienceworld.subgoals import COMPLETE, canonical_action

WAITING = "wait1"
"""What is played when the agent believes that it is done: the shortest wait, two moves."""
STUCK_AFTER = 3
"""So many sub-goals ended in a row, without an action between, mean that the executor is stuck."""


class GuidedPolicy:
    """Implements `Policy`."""

    repetition = (1, 2)

    def __init__(self, play: Play) -> None:
        self._play = play
        self._source = open_source(play)
        self._repair = open_repair(play)
        self._ended_in_a_row = 0
        self._taken: defaultdict[tuple[Scene, str | None], set[str]] = defaultdict(set)

    async def turn(self) -> TurnRecord:
        """Play one turn: perhaps ask for a sub-goal, then act or learn that the sub-goal has ended."""
        play = self._play
        play.begin_turn()
        if self._source is None or not self._wants_subgoal():
            return await self._execute(controller_called=False)
        subgoal = await self._source.next(play.state)
        if subgoal is None:
            self._ended_in_a_row = 0
            return play.acted(await play.step(WAITING), WAITING, subgoal=COMPLETE, controller_called=True)
        play.fold.give_subgoal(subgoal)
        return await self._execute(controller_called=True)

    async def _execute(self, *, controller_called: bool) -> TurnRecord:
        play = self._play
        stuck = self._ended_in_a_row >= STUCK_AFTER
        answer = await play.ask_executor(n=ALTERNATIVES if stuck else 1)
        if not answer.parsed and not stuck:
            answer = await play.ask_executor(n=ALTERNATIVES)
        said = decisions_of(answer)
        if not said:
            return await self._execute_unparsed(answer, controller_called=controller_called)
        proposed, logprob = said[0]
        action = proposed
        taken = self._taken[scene(play.state), play.state.current_subgoal]
        if action is None and stuck:
            action = next((one.action for one in said if one.action is not None), None)
        elif action is not None and self._is_unwise(action, logprob, taken):
            said = decisions_of(await play.ask_executor(n=ALTERNATIVES))
            others = [one.action for one in said if one.action is None or self._dares(one.action, one.logprob)]
            instead = action if self._dares(action, logprob) else WAITING
            action = next((one for one in others if one not in taken), instead)
        if action is None:
            self._ended_in_a_row += 1
            return play.ended(logprob, controller_called=controller_called)
        replacement = self._held_to_subgoal(action, taken)
        action = replacement or action
        taken.add(action)
        step = await play.step(action)
        if not step.known and self._repair is not None:
            replacement = await self._repair.replace([action], taken=taken if play.state.current_subgoal else ())
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

    async def _execute_unparsed(self, answer: ActionResponse, *, controller_called: bool) -> TurnRecord:
        """The executor wrote no action: take the one that the sub-goal spells out if valid, else end the sub-goal.

        It counts as an action that the environment does not know, but is never sent there.
        """
        play, raw = self._play, answer.raw or ""
        logprob = answer.alternatives[0].logprob if answer.alternatives else None
        given = play.state.current_subgoal
        meant = canonical_action(given, raw) if given and self._repair is not None else None
        if meant is not None:
            meant = repair.first_valid(meant, [meant], await play.valid_actions())
        taken = self._taken[scene(play.state), given]
        if meant is None or (meant in taken and not meant.startswith(REPEATABLE)):
            self._ended_in_a_row += 1
            return play.ended(logprob, controller_called=controller_called, unparsed=raw)
        taken.add(meant)
        step = await play.step(meant)
        self._ended_in_a_row = 0
        return play.acted(
            step,
            meant,
            subgoal=given,
            controller_called=controller_called,
            proposed=raw,
            logprob=logprob,
            repaired=True,
        )

    def _held_to_subgoal(self, action: str, taken: Collection[str]) -> str | None:
        """The sub-goal's own action where one of the same verb leaves out what it names; None: it does not."""
        given = self._play.state.current_subgoal
        meant = canonical_action(given, action) if given else None
        if meant is None or meant in taken or self._repair is None or not repair.leaves_out(action, meant):
            return None
        return meant

    def _is_unwise(self, action: str, logprob: float | None, taken: Collection[str]) -> bool:
        """Whether another action should be looked for."""
        again = action in taken and not action.startswith(REPEATABLE)
        return again or not self._dares(action, logprob)

    def _dares(self, action: str, logprob: float | None) -> bool:
        """Whether an action may be taken for what it stakes; of sub-goals, their source has judged that.

        One of which nobody says how likely it is may.
        """
        return self._source is not None or logprob is None or is_worth_it(action, logprob, self._play.state)

    def _wants_subgoal(self) -> bool:
        return self._play.agent.controller_calls == "every_step" or self._play.state.subgoal_step is None


def open_source(play: Play) -> SubgoalSource | None:
    """Where this agent's sub-goals come from."""
    match play.agent.subgoals:
        case "controller":
            return ControllerSource(play.ask_controller)
        case "semi_random":
            return SemiRandomSource(ControllerSource(play.ask_controller), play.chance())
        case "random":
            return RandomSource(play.chance())
        case "oracle" | "llm_plan":
            return PlanSource(play.plan)
        case "none":
            return None
