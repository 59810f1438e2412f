"""The episode loop: sub-goal -> action -> environment step -> turn, until a limit or the end.

It plays through its ports (environment, controller, executor, planner) and does no input or output of its own.
`waymark.agent.state` alone changes the state. The environment blocks, so it is called in a worker thread, and many
episodes share one event loop.

The agent's policy decides how the models' answers are used (`waymark.agent.policies`). A turn is an action or an ended
sub-goal. Only actions can cost moves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from waymark.agent.model_ports import DEFAULT_LIMITS, Controller, Executor, RequestLimits
from waymark.agent.policies import open_policy
from waymark.agent.running_episode import Play
from waymark.agent.stop_rules import stop_reason
from waymark.agent.subgoal_sources.llm_plan import Planner
from waymark.agent.world_port import AgentWorld
from waymark.contracts import EpisodeError, EpisodeResult, EpisodeSpec, Stopped, TurnRecord
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
from waymark.worlds.base import Environment
from waymark.worlds.registry import agent_world

__all__ = ["RETRYABLE", "Controller", "Executor", "RequestLimits", "run_episode", "stop_reason"]

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
"""Kinds of episode errors that may be absent in another attempt."""

_FAULTS = (EnvironmentFault, ServiceError, PlanUnreadable, InvalidInput)
"""Errors that end one episode and become its result. All other errors are raised, because they are bugs or mistakes of
the caller."""


async def run_episode(
    spec: EpisodeSpec,
    environment: Environment,
    controller: Controller | None,
    executor: Executor,
    *,
    planner: Planner | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_turn: Callable[[TurnRecord], None] = lambda _: None,
    request_limits: RequestLimits = DEFAULT_LIMITS,
    world: AgentWorld | None = None,
) -> EpisodeResult:
    """Play one episode to its end and return its whole record.

    Only agents that ask a controller or a planner need these ports. `should_stop` is called before every turn,
    `on_turn` after it; `request_limits` limits the requests to the services. `world` is the world of `environment`
    (default: ScienceWorld). A fault of the environment, a service or the planner ends the episode as errored, with
    score 0 and the turns so far; `RETRYABLE` says whether another attempt may help. After an EnvironmentFault the
    environment must be replaced. Cancellation waits for the end of the environment's current step.

    Raises InvalidInput for an agent that lacks a port or names an unknown rule.
    """
    play = Play(spec, environment, controller, executor, planner, request_limits, world or agent_world())
    try:
        await play.open()
        policy = open_policy(play)
        while (stopped := _stopped(play, policy.repetition)) is None:
            if should_stop():
                return play.result("cancelled")
            on_turn(await policy.turn())
        return play.result(stopped)
    except _FAULTS as fault:
        return play.result("error", EpisodeError(kind=fault.kind, message=str(fault)))


def _stopped(play: Play, repetition: Collection[int]) -> Stopped | None:
    """Why the episode is over, or None."""
    reason = stop_reason(play.turns, play.spec.limits, repetition)
    if reason == "failed" or not play.completed:
        return reason
    return "completed"
