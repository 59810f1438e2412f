"""The episode loop: sub-goal -> action -> environment step -> turn, until a limit or the end.

It plays through three ports (environment, controller, executor) and does no input or output of its own.
The state is folded by `waymark.state` alone; the environment, which blocks, is called in a worker thread so
that many episodes share one event loop.

Choices that the publication leaves open, or that keep the loop from going in circles:

- After an ended sub-goal the controller is asked for several, and the first that was not given in this very scene
  (look and inventory) before is taken: giving it again would lead where it led then. Likewise an action that was
  taken in this scene for this sub-goal is not taken again if the executor has another. Waiting and measuring are
  meant to be repeated: such a sub-goal may be given three times. A counted wait ends when it is counted.
- A sub-goal that names what neither the task says nor the agent has seen is a name misspelt: the first of the
  controller's several that does not is taken, if there is one.
- A wrong focus, or the wrong box, ends an episode at -100. So such a sub-goal is only followed if the controller's
  probability for it, times the 100 points to be had, is at least the score that is at stake.
- What repairs an action first is the sub-goal itself, where it says its one action. A sub-goal whose action the
  environment does not know, and nothing repairs, has ended.
- `complete_task()` only says that the agent believes it is done. The simulator ends a solved episode
  itself, so points are still open then: the controller's next best sub-goal is taken; if it has none,
  the loop waits one move (`wait1`) and asks again.
- After three sub-goals ended without an action between them, the executor is asked for five
  answers, and the first that is an action is taken.
- A turn is whatever the loop recorded: an action, or an ended sub-goal. Only actions can cost moves.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from anyio import to_thread

from waymark import repair, state
from waymark.contracts import (
    ActionResponse,
    AgentConfig,
    AgentState,
    EpisodeError,
    EpisodeResult,
    EpisodeSpec,
    Limits,
    SubgoalResponse,
    TurnRecord,
    Usage,
)
from waymark.environment import Environment, Step
from waymark.errors import (
    ControllerUnavailable,
    DeadlineExceeded,
    EnvironmentFault,
    ExecutorUnavailable,
    InvalidInput,
    ServiceError,
    ServiceUnavailable,
)
from waymark.subgoals import COMPLETE, spelled, told

SOLVED = 100
WAITING = "wait1"
"""What is played when the agent believes that it is done: the shortest wait, two moves."""
SUBGOAL_ALTERNATIVES = 5
ACTION_ALTERNATIVES = 5
REPEATABLE = (
    "wait",
    "water(",
    "use thermometer",
    "monitor_temperature(",
    "measure_temperature(",
    "look ",
    "time_slide(",
)
"""What sub-goals and actions begin with that are meant to be repeated where nothing seems to have changed."""
REPEATS = 3
"""How often such a sub-goal may be given in one scene."""
STUCK_AFTER = 3
"""So many sub-goals ended in a row, without an action between, mean that the executor is stuck."""
DISTINCT_ACTIONS = 2
"""At most this many distinct actions in a row count as repetition."""
MAX_HISTORY = 1_000
"""The longest history that a state may carry over the wire."""
SUBGOAL_SOURCES = ("controller", "none")
"""What this version plays; the contract names more."""

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

_Scene = tuple[str, str]
"""Look and inventory, what instruments read left out: what an agent can tell two moments by."""
_COUNTED = re.compile(r"wait1?\((\d{1,3})\)")
_READING = re.compile(r"-?\d+ degrees|\d+ ticks")

_FAULTS = (EnvironmentFault, ServiceError, InvalidInput)
"""What costs one episode and becomes its result. Anything else is a bug or the caller's, and is raised."""

Stopped = Literal["completed", "failed", "moves", "turns", "patience", "error", "cancelled"]


class Controller(Protocol):
    """Names sub-goals; `waymark.client.ControllerClient` is the real one. Raises ServiceError."""

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        """The `n` best next sub-goals."""
        ...


class Executor(Protocol):
    """Picks actions; `waymark.client.ExecutorClient` is the real one. Raises ServiceError."""

    async def action(
        self,
        state: AgentState,
        *,
        n: int = 1,
        model: str = "default",
        valid_actions: Sequence[str] | None = None,
    ) -> ActionResponse:
        """The `n` best next actions; with `valid_actions`, the best of those."""
        ...


def check_agent(agent: AgentConfig) -> None:
    """Raise InvalidInput (field `agent.subgoals`) for an agent that this version cannot play."""
    if agent.subgoals not in SUBGOAL_SOURCES:
        raise InvalidInput(
            f"Sub-goals from {agent.subgoals!r} come with a later version.",
            remedy=f"Use one of {', '.join(SUBGOAL_SOURCES)}.",
            field="agent.subgoals",
        )


async def run_episode(
    spec: EpisodeSpec,
    environment: Environment,
    controller: Controller | None,
    executor: Executor,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_turn: Callable[[TurnRecord], None] = lambda _: None,
    history_turns: int = MAX_HISTORY,
) -> EpisodeResult:
    """Play one episode to its end and return all of it.

    `should_stop` is asked before every turn; `on_turn` sees each turn as soon as it is over; `history_turns`
    is how many turns the services read (`/info`). A fault of the environment or a service ends the episode as
    errored, with score 0 and the turns so far; `RETRYABLE` tells whether another attempt may help. After an
    EnvironmentFault the environment must be replaced. Cancelling waits for the step under way.

    Raises InvalidInput for an agent that cannot be played at all.
    """
    check_agent(spec.agent)
    if controller is None and spec.agent.subgoals != "none":
        raise InvalidInput(
            "This agent takes its sub-goals from a controller, and there is none.",
            remedy="Start the controller, or choose `none` for the flat agent.",
            field="agent.subgoals",
        )
    play = _Play(spec, environment, controller if spec.agent.subgoals != "none" else None, executor, history_turns)
    try:
        await play.open()
        while (stopped := play.stopped()) is None:
            if should_stop():
                return play.result("cancelled")
            on_turn(await play.turn())
        return play.result(stopped)
    except _FAULTS as fault:
        return play.result("error", EpisodeError(kind=fault.kind, message=str(fault)))


def choose_subgoal(alternatives: Sequence[str], ended: str | None, given: Mapping[str, int]) -> str | None:
    """The sub-goal to follow, given the controller's, best first, and the one that has just ended.

    `given` says how often each was given in this very scene before; those given too often are taken only if there
    is nothing else. One that is meant to be repeated may also be the one that has just ended.
    None: the controller has nothing but `complete_task()`, perhaps beside the one that has just ended, or nothing.
    """
    others = [
        subgoal
        for subgoal in alternatives
        if subgoal != COMPLETE and (subgoal != ended or subgoal.startswith(REPEATABLE))
    ]
    fresh = [
        subgoal for subgoal in others if given.get(subgoal, 0) < (REPEATS if subgoal.startswith(REPEATABLE) else 1)
    ]
    if others:
        return (fresh or others)[0]
    return None if COMPLETE in alternatives or not alternatives else ended


def is_worth_it(subgoal: str, probability: float, score: int) -> bool:
    """Whether a sub-goal that may end the episode at -100 is likely enough to stake the score (0 to 100) on it."""
    final = subgoal.startswith("focus_on(") or (subgoal.startswith("move(") and subgoal.endswith(" box)"))
    return not final or probability * SOLVED >= score


def stop_reason(turns: Sequence[TurnRecord], limits: Limits) -> Stopped | None:
    """Why an episode with these turns is over by its limits, or None. Knows nothing of the environment's own end.

    A move limit is passed when moves > limit; the score of the turn that passes it counts.
    """
    if not turns:
        return None
    last = turns[-1]
    rules: tuple[tuple[Stopped, bool], ...] = (
        ("failed", last.score < 0),
        ("moves", last.moves > limits.moves),
        ("turns", len(turns) >= limits.turns),
        ("patience", limits.patience is not None and _unchanged(turns, limits.patience)),
        ("patience", limits.repetition is not None and _repeating(turns, limits.repetition)),
    )
    return next((reason for reason, holds in rules if holds), None)


def _unchanged(turns: Sequence[TurnRecord], patience: int) -> bool:
    return len(turns) >= patience and not any(turn.reward for turn in turns[-patience:])


def _repeating(turns: Sequence[TurnRecord], repetition: int) -> bool:
    actions = [turn.action for turn in turns if turn.action is not None][-repetition:]
    return len(actions) == repetition and len(set(actions)) <= DISTINCT_ACTIONS


class _Play:
    """One episode under way."""

    def __init__(
        self,
        spec: EpisodeSpec,
        environment: Environment,
        controller: Controller | None,
        executor: Executor,
        history_turns: int,
    ) -> None:
        self._spec = spec
        self._environment = environment
        self._controller = controller
        self._executor = executor
        self._history_turns = history_turns
        self._state: AgentState
        self._turns: list[TurnRecord] = []
        self._ended_in_a_row = 0
        self._given: dict[_Scene, Counter[str]] = defaultdict(Counter)
        self._taken: dict[tuple[_Scene, str | None], set[str]] = defaultdict(set)
        self._completed = False
        self._model_calls = 0
        self._prompt_tokens = self._completion_tokens = 0
        self._began = self._turn_began = time.monotonic()

    async def open(self) -> None:
        """Load the task."""
        spec = self._spec
        opening = await to_thread.run_sync(self._environment.reset, spec.task, spec.variation, spec.simplifications)
        self._state = state.start(opening.task, opening.look, opening.inventory)

    def stopped(self) -> Stopped | None:
        """Why the episode is over, or None."""
        reason = stop_reason(self._turns, self._spec.limits)
        if reason == "failed" or not self._completed:
            return reason
        return "completed"

    async def turn(self) -> TurnRecord:
        """Play one turn: perhaps ask for a sub-goal, then act or learn that the sub-goal has ended."""
        self._turn_began = time.monotonic()
        if self._counted_out():
            self._state = state.with_subgoal_ended(self._state)
        if self._controller is None or not self._wants_subgoal():
            return await self._execute(controller_called=False)
        subgoal = await self._next_subgoal(self._controller)
        if subgoal is None:
            step = await to_thread.run_sync(self._environment.step, WAITING)
            return self._acted(step, WAITING, subgoal=COMPLETE, controller_called=True)
        self._given[self._scene()][subgoal] += 1
        self._state = state.with_subgoal(self._state, subgoal)
        return await self._execute(controller_called=True)

    async def _execute(self, *, controller_called: bool) -> TurnRecord:
        stuck = self._ended_in_a_row >= STUCK_AFTER
        answer = await self._ask_executor(n=ACTION_ALTERNATIVES if stuck else 1)
        logprob = answer.alternatives[0].logprob if answer.alternatives else None
        proposed = None if answer.action is None else _phrase(answer.action)
        action = proposed
        taken = self._taken[self._scene(), self._state.current_subgoal]
        if action is None and stuck:
            action = next((_phrase(one.action) for one in answer.alternatives if one.action is not None), None)
        elif action in taken and not action.startswith(REPEATABLE):
            answer = await self._ask_executor(n=ACTION_ALTERNATIVES)
            others = (None if one.action is None else _phrase(one.action) for one in answer.alternatives)
            action = next((one for one in others if one not in taken), action)
        if action is None:
            return self._ended(logprob, controller_called=controller_called)
        taken.add(action)
        step = await to_thread.run_sync(self._environment.step, action)
        replacement = None
        if not step.known and self._spec.agent.repair:
            replacement = await self._repair(action)
        if replacement is not None:
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
        if not step.known and self._controller is not None:
            self._state = state.with_subgoal_ended(self._state)
        return turn

    async def _repair(self, unknown: str) -> str | None:
        """A valid action in place of one that the environment does not know, or None: nothing fits."""
        valid = [action for action in await to_thread.run_sync(self._environment.valid_actions) if action != unknown]
        meant = spelled(self._state.current_subgoal) if self._controller and self._state.current_subgoal else None
        if meant is not None and (said := repair.first_valid(meant, [meant], valid)) is not None:
            return said
        answer = await self._ask_executor(n=ACTION_ALTERNATIVES)
        alternatives = [one.action for one in answer.alternatives if one.action is not None]
        chosen = repair.first_valid(unknown, alternatives, valid)
        if chosen is not None:
            return chosen
        candidates = repair.shortlist(unknown, alternatives, valid)
        if not candidates:
            return None
        return (await self._ask_executor(n=1, valid_actions=candidates)).action

    def _scene(self) -> _Scene:
        return _READING.sub("", self._state.look), _READING.sub("", self._state.inventory)

    def _counted_out(self) -> bool:
        """Whether the current sub-goal is a wait for a number of actions, and has had them."""
        given, since = self._state.current_subgoal, self._state.subgoal_step
        counted = _COUNTED.fullmatch(given) if given and since and self._controller else None
        return bool(counted and since and self._state.step - since >= int(counted.group(1)))

    def _wants_subgoal(self) -> bool:
        every_step = self._spec.agent.controller_calls == "every_step"
        return every_step or self._state.subgoal_step is None

    async def _next_subgoal(self, controller: Controller) -> str | None:
        ended = self._state.current_subgoal if self._state.subgoal_step is None else None
        answer = await self._ask_controller(controller, n=1 if ended is None else SUBGOAL_ALTERNATIVES)
        if ended is None and (answer.subgoal == COMPLETE or not told([answer.subgoal], self._state)):
            answer = await self._ask_controller(controller, n=SUBGOAL_ALTERNATIVES)
        alternatives = [
            _phrase(one.subgoal)
            for one in answer.alternatives
            if is_worth_it(one.subgoal, math.exp(min(0.0, one.logprob)), self._state.score)
        ]
        given = self._given[self._scene()] if ended is not None else Counter[str]()
        return choose_subgoal(told(alternatives, self._state) or alternatives, ended, given)

    async def _ask_controller(self, controller: Controller, *, n: int) -> SubgoalResponse:
        visible = state.recent(self._state, self._history_turns)
        answer = await controller.subgoal(visible, n=n, model=self._spec.agent.controller_model)
        self._count(answer.usage)
        return answer

    async def _ask_executor(self, *, n: int, valid_actions: Sequence[str] | None = None) -> ActionResponse:
        visible = state.recent(self._state, self._history_turns)
        answer = await self._executor.action(
            visible, n=n, model=self._spec.agent.executor_model, valid_actions=valid_actions
        )
        self._count(answer.usage)
        return answer

    def _count(self, usage: Usage) -> None:
        self._model_calls += 1
        self._prompt_tokens += usage.prompt_tokens
        self._completion_tokens += usage.completion_tokens

    def _ended(self, logprob: float | None, *, controller_called: bool) -> TurnRecord:
        """Record that the executor ended its sub-goal; nothing happened in the environment."""
        self._state = state.with_subgoal_ended(self._state)
        self._ended_in_a_row += 1
        return self._record(
            TurnRecord(
                turn=len(self._turns) + 1,
                subgoal=self._state.current_subgoal,
                controller_called=controller_called,
                action=None,
                proposed=None,
                logprob=logprob,
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
            stopped=stopped,
            error=error,
            seconds=time.monotonic() - self._began,
            agent=spec.agent,
            trajectory=tuple(turns),
        )


def _phrase(text: str) -> str:
    """A model's words as a state can carry them: never blank, never endless. The environment judges the rest."""
    return text.strip()[:500] or "?"
