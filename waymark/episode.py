"""The episode loop: sub-goal -> action -> environment step -> turn, until a limit or the end.

It plays through its ports (environment, controller, executor, planner) and does no input or output of its own.
The state is folded by `waymark.state` alone; the environment, which blocks, is called in a worker thread so
that many episodes share one event loop.

Where sub-goals come from is an option of the agent: `waymark.subgoal_sources` has a source for each, the rules for
choosing among a controller's several included. The flat agent has none; all else is the same loop. Choices that the
publication leaves open, or that keep the loop from going in circles:

- What stakes the score (`waymark.stakes`) is followed only if it is likely enough: sub-goals, or the actions of an
  agent without them.
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
- A turn is whatever the loop recorded: an action, or an ended sub-goal. Only actions can cost moves.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from anyio import to_thread

from waymark import repair, state
from waymark.contracts import (
    ActionResponse,
    AgentState,
    EpisodeError,
    EpisodeResult,
    EpisodeSpec,
    Opening,
    SubgoalResponse,
    TurnRecord,
    Usage,
)
from waymark.environment import SOLVED, Environment, Step
from waymark.errors import (
    ControllerUnavailable,
    DeadlineExceeded,
    EnvironmentFault,
    ExecutorUnavailable,
    InvalidInput,
    PlanUnreadable,
    ServiceError,
    ServiceUnavailable,
)
from waymark.model_ports import DEFAULT_REACH, Controller, Executor, Reach
from waymark.readable import decisions_of
from waymark.stakes import is_worth_it
from waymark.state import Scene
from waymark.stop_rules import Stopped, stop_reason
from waymark.subgoal_sources import SubgoalSource, oracle
from waymark.subgoal_sources.controller import REPEATABLE, ControllerSource
from waymark.subgoal_sources.drawn import RandomSource, SemiRandomSource
from waymark.subgoal_sources.llm_plan import Planner, ask_plan
from waymark.subgoal_sources.plan import PlanSource
from waymark.subgoals import COMPLETE, is_over, spelled

WAITING = "wait1"
"""What is played when the agent believes that it is done: the shortest wait, two moves."""
ACTION_ALTERNATIVES = 5
STUCK_AFTER = 3
"""So many sub-goals ended in a row, without an action between, mean that the executor is stuck."""
RETRYABLE: frozenset[str] = frozenset(
    error.__name__
    for error in (
        ServiceUnavailable,
        ControllerUnavailable,
        ExecutorUnavailable,
        DeadlineExceeded,
        EnvironmentFault,
    )
)
"""Kinds of episode errors that another attempt may not meet again."""

_FAULTS = (EnvironmentFault, ServiceError, PlanUnreadable, InvalidInput)
"""What costs one episode and becomes its result. Anything else is a bug or the caller's, and is raised."""


async def run_episode(
    spec: EpisodeSpec,
    environment: Environment,
    controller: Controller | None,
    executor: Executor,
    *,
    planner: Planner | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_turn: Callable[[TurnRecord], None] = lambda _: None,
    reach: Reach = DEFAULT_REACH,
) -> EpisodeResult:
    """Play one episode to its end and return all of it.

    `controller` and `planner` are needed for agents that ask them alone. `should_stop` is asked before every turn;
    `on_turn` sees each turn as soon as it is over; `reach` is how much the services may be asked.
    A fault of the environment, a service or the planner ends the episode as errored, with score 0 and the turns so
    far; `RETRYABLE` tells whether another attempt may help. After an EnvironmentFault the environment must be
    replaced. Cancelling waits for the step under way.

    Raises InvalidInput for an agent that cannot be played at all.
    """
    play = _Play(spec, environment, controller, executor, planner, reach)
    try:
        await play.open()
        while (stopped := play.stopped()) is None:
            if should_stop():
                return play.result("cancelled")
            on_turn(await play.turn())
        return play.result(stopped)
    except _FAULTS as fault:
        return play.result("error", EpisodeError(kind=fault.kind, message=str(fault)))


class _Play:
    """One episode under way."""

    def __init__(
        self,
        spec: EpisodeSpec,
        environment: Environment,
        controller: Controller | None,
        executor: Executor,
        planner: Planner | None,
        reach: Reach,
    ) -> None:
        self._spec = spec
        self._environment = environment
        self._controller = controller
        self._executor = executor
        self._planner = planner
        self._reach = reach
        self._check_ports()
        self._source: SubgoalSource | None
        self._opening: Opening | None = None
        self._state: AgentState
        self._turns: list[TurnRecord] = []
        self._ended_in_a_row = 0
        self._taken: dict[tuple[Scene, str | None], set[str]] = defaultdict(set)
        self._completed = False
        self._model_calls = self._unparsed = 0
        self._prompt_tokens = self._completion_tokens = 0
        self._began = self._turn_began = time.monotonic()

    async def open(self) -> None:
        """Load the task, and ask beforehand what is to be known beforehand."""
        episode = (self._spec.task, self._spec.variation, self._spec.simplifications)
        known: list[str] = []
        if self._spec.agent.subgoals == "oracle":
            known = await to_thread.run_sync(oracle.subgoals, self._environment, *episode)
        self._opening = await to_thread.run_sync(self._environment.reset, *episode)
        self._state = state.start(self._opening.task, self._opening.look, self._opening.inventory)
        if self._spec.agent.subgoals == "llm_plan":
            assert self._planner is not None
            known = await ask_plan(self._planner, self._state, self._count)
        self._source = self._open_source(known)

    def _open_source(self, known: Sequence[str]) -> SubgoalSource | None:
        """Where this agent's sub-goals come from; `known` are those of a plan made beforehand."""
        spec = self._spec
        chance = random.Random(f"{spec.seed} {spec.task} {spec.variation}")
        match spec.agent.subgoals:
            case "controller":
                return ControllerSource(self._ask_controller)
            case "semi_random":
                return SemiRandomSource(ControllerSource(self._ask_controller), chance)
            case "random":
                return RandomSource(chance)
            case "oracle" | "llm_plan":
                return PlanSource(known)
            case "none":
                return None

    def _check_ports(self) -> None:
        """Raise InvalidInput if this agent asks a port that there is none of."""
        agent = self._spec.agent
        asked = {"controller": self._controller, "semi_random": self._controller, "llm_plan": self._planner}
        if asked.get(agent.subgoals, self) is None:
            raise InvalidInput(
                f"This agent takes its sub-goals from {agent.subgoals!r}, and there is nobody to ask.",
                remedy="Give a controller or a planner, or choose `none` for the flat agent.",
                field="agent.subgoals",
            )

    def stopped(self) -> Stopped | None:
        """Why the episode is over, or None."""
        reason = stop_reason(self._turns, self._spec.limits)
        if reason == "failed" or not self._completed:
            return reason
        return "completed"

    async def turn(self) -> TurnRecord:
        """Play one turn: perhaps ask for a sub-goal, then act or learn that the sub-goal has ended."""
        self._turn_began = time.monotonic()
        if is_over(self._state):
            self._state = state.with_subgoal_ended(self._state)
        if self._source is None or not self._wants_subgoal():
            return await self._execute(controller_called=False)
        subgoal = await self._source.next(self._state)
        if subgoal is None:
            step = await to_thread.run_sync(self._environment.step, WAITING)
            return self._acted(step, WAITING, subgoal=COMPLETE, controller_called=True)
        self._state = state.with_subgoal(self._state, subgoal)
        return await self._execute(controller_called=True)

    async def _execute(self, *, controller_called: bool) -> TurnRecord:
        stuck = self._ended_in_a_row >= STUCK_AFTER
        answer = await self._ask_executor(n=ACTION_ALTERNATIVES if stuck else 1)
        if not answer.parsed and not stuck:
            answer = await self._ask_executor(n=ACTION_ALTERNATIVES)
        said = decisions_of(answer)
        if not said:
            return await self._execute_unparsed(answer, controller_called=controller_called)
        proposed, logprob = said[0]
        action = proposed
        taken = self._taken[state.scene(self._state), self._state.current_subgoal]
        if action is None and stuck:
            action = next((one.action for one in said if one.action is not None), None)
        elif action is not None and self._is_unwise(action, logprob, taken):
            said = decisions_of(await self._ask_executor(n=ACTION_ALTERNATIVES))
            others = [one.action for one in said if one.action is None or self._dares(one.action, one.logprob)]
            instead = action if self._dares(action, logprob) else WAITING
            action = next((one for one in others if one not in taken), instead)
        if action is None:
            return self._ended(logprob, controller_called=controller_called)
        replacement = self._held_to_subgoal(action, taken)
        action = replacement or action
        taken.add(action)
        step = await to_thread.run_sync(self._environment.step, action)
        if not step.known and self._spec.agent.repair:
            replacement = await self._repair(action, taken if self._state.current_subgoal else ())
        if replacement is not None and replacement != action:
            taken.add(replacement)
            step = await to_thread.run_sync(self._environment.step, replacement)
        turn = self._acted(
            step,
            replacement or action,
            subgoal=self._state.current_subgoal,
            controller_called=controller_called,
            proposed=proposed,
            logprob=logprob,
            repaired=replacement is not None,
        )
        if not step.known:
            self._state = state.with_subgoal_ended(self._state)
        return turn

    async def _execute_unparsed(self, answer: ActionResponse, *, controller_called: bool) -> TurnRecord:
        """The executor wrote no action: take the one that the sub-goal spells out if valid, else end it.

        It counts as an action that the environment does not know, but is never sent there.
        """
        raw = answer.raw or ""
        logprob = answer.alternatives[0].logprob if answer.alternatives else None
        meant = self._meant(raw) if self._spec.agent.repair else None
        if meant is not None:
            known = await to_thread.run_sync(self._environment.valid_actions)
            meant = repair.first_valid(meant, [meant], known)
        taken = self._taken[state.scene(self._state), self._state.current_subgoal]
        if meant is None or (meant in taken and not meant.startswith(REPEATABLE)):
            return self._ended(logprob, controller_called=controller_called, unparsed=raw)
        taken.add(meant)
        return self._acted(
            await to_thread.run_sync(self._environment.step, meant),
            meant,
            subgoal=self._state.current_subgoal,
            controller_called=controller_called,
            proposed=raw,
            logprob=logprob,
            repaired=True,
        )

    def _held_to_subgoal(self, action: str, taken: Collection[str]) -> str | None:
        """The sub-goal's own action where one of the same verb leaves out what it names; None: it does not."""
        meant = self._meant(action)
        if meant is None or meant in taken or not self._spec.agent.repair or not repair.leaves_out(action, meant):
            return None
        return meant

    def _meant(self, action: str) -> str | None:
        """What the sub-goal itself says that this action should be, if it does."""
        return spelled(self._state.current_subgoal, action) if self._state.current_subgoal else None

    def _is_unwise(self, action: str, logprob: float | None, taken: Collection[str]) -> bool:
        """Whether another action should be looked for."""
        again = action in taken and not action.startswith(REPEATABLE)
        return again or not self._dares(action, logprob)

    def _dares(self, action: str, logprob: float | None) -> bool:
        """Whether an action may be taken for what it stakes; of sub-goals, their source has judged that.

        One of which nobody says how likely it is may.
        """
        return self._source is not None or logprob is None or is_worth_it(action, logprob, self._state)

    async def _repair(self, unknown: str, taken: Collection[str]) -> str | None:
        """A valid action, none of those taken, in place of one that the environment does not know; None: none fits."""
        known = await to_thread.run_sync(self._environment.valid_actions)
        spent = {action for action in taken if not action.startswith(REPEATABLE)}
        valid = [action for action in known if action != unknown and action not in spent]
        meant = self._meant(unknown)
        if meant is not None and (said := repair.first_valid(meant, [meant], valid)) is not None:
            return said
        answer = await self._ask_executor(n=ACTION_ALTERNATIVES)
        alternatives = [one.action for one in decisions_of(answer) if one.action is not None]
        chosen = repair.first_valid(unknown, alternatives, valid)
        if chosen is not None:
            return chosen
        candidates = repair.shortlist(unknown, valid, min(repair.SHORTLIST, self._reach.candidates))
        if not candidates:
            return None
        return (await self._ask_executor(n=1, valid_actions=candidates)).action

    def _wants_subgoal(self) -> bool:
        every_step = self._spec.agent.controller_calls == "every_step"
        return every_step or self._state.subgoal_step is None

    async def _ask_controller(self, now: AgentState, /, *, n: int) -> SubgoalResponse:
        assert self._controller is not None
        visible = state.recent(now, self._reach.history_turns)
        n = min(n, self._reach.alternatives)
        answer = await self._controller.subgoal(visible, n=n, model=self._spec.agent.controller_model)
        self._count_answer(answer)
        return answer

    async def _ask_executor(self, *, n: int, valid_actions: Sequence[str] | None = None) -> ActionResponse:
        visible = state.recent(self._state, self._reach.history_turns)
        answer = await self._executor.action(
            visible,
            n=min(n, self._reach.alternatives),
            model=self._spec.agent.executor_model,
            valid_actions=valid_actions,
        )
        self._count_answer(answer)
        return answer

    def _count_answer(self, answer: SubgoalResponse | ActionResponse) -> None:
        self._count(answer.usage)
        self._unparsed += not answer.parsed

    def _count(self, usage: Usage) -> None:
        self._model_calls += 1
        self._prompt_tokens += usage.prompt_tokens
        self._completion_tokens += usage.completion_tokens

    def _ended(self, logprob: float | None, *, controller_called: bool, unparsed: str | None = None) -> TurnRecord:
        """Record that the executor ended its sub-goal, or wrote no action; nothing happened in the environment."""
        self._state = state.with_subgoal_ended(self._state)
        self._ended_in_a_row += 1
        return self._record(
            TurnRecord(
                turn=len(self._turns) + 1,
                subgoal=self._state.current_subgoal,
                controller_called=controller_called,
                action=None,
                proposed=unparsed,
                logprob=logprob,
                known=unparsed is None,
                look=self._state.look,
                inventory=self._state.inventory,
                score=self._state.score,
                moves=self._turns[-1].moves if self._turns else 0,
                seconds=time.monotonic() - self._turn_began,
            )
        )

    def _acted(
        self,
        step: Step,
        action: str,
        *,
        subgoal: str | None,
        controller_called: bool,
        proposed: str | None = None,
        logprob: float | None = None,
        repaired: bool = False,
    ) -> TurnRecord:
        """Fold an executed action into the state and record it."""
        self._ended_in_a_row = 0
        self._completed = step.completed or step.score >= SOLVED
        self._state = state.after_step(self._state, action, step.observation, step.look, step.inventory, step.score)
        return self._record(
            TurnRecord(
                turn=len(self._turns) + 1,
                subgoal=subgoal,
                controller_called=controller_called,
                action=action,
                proposed=proposed,
                logprob=logprob,
                repaired=repaired,
                known=step.known,
                ambiguous=step.ambiguous,
                observation=step.observation,
                look=step.look,
                inventory=step.inventory,
                score=step.score,
                reward=self._state.turns[-1].reward,
                moves=step.moves,
                seconds=time.monotonic() - self._turn_began,
            )
        )

    def _record(self, turn: TurnRecord) -> TurnRecord:
        self._turns.append(turn)
        return turn

    def result(self, stopped: Stopped, error: EpisodeError | None = None) -> EpisodeResult:
        """The episode as far as it came. An errored one scores 0 whatever it had reached."""
        spec, turns = self._spec, self._turns
        raw = turns[-1].score if turns else 0
        score = 0 if error else max(0, raw)
        return EpisodeResult(
            id=spec.id,
            evaluation=spec.evaluation,
            task=spec.task,
            variation=spec.variation,
            seed=spec.seed,
            score=score,
            raw_score=raw,
            last_nonnegative_score=next((turn.score for turn in reversed(turns) if turn.score >= 0), 0),
            success=score >= SOLVED,
            moves=turns[-1].moves if turns else 0,
            actions=sum(turn.action is not None for turn in turns),
            turns=len(turns),
            model_calls=self._model_calls,
            tokens=self._prompt_tokens + self._completion_tokens,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            repaired=sum(turn.repaired for turn in turns),
            unparsed=self._unparsed,
            stopped=stopped,
            error=error,
            seconds=time.monotonic() - self._began,
            agent=spec.agent,
            opening=self._opening,
            trajectory=tuple(turns),
        )
