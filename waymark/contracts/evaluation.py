"""Evaluations as the env-runner's API has them: the request, the status, and pages of episodes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from waymark.contracts.agent import AgentConfig
from waymark.contracts.base import Contract, Name
from waymark.contracts.episode import EpisodeResult, Limits, Versions

Variation = Annotated[int, Field(ge=0, le=1_000_000)]


class EvaluationRequest(Contract):
    """`POST /v1/evaluations`: a protocol, or tasks and variations of one's own."""

    world: Name | None = None
    """Which world is played, e.g. `scienceworld`; null: the one that the env-runner plays, which is the only one it
    accepts."""
    protocol: Name = "quick"
    """Which variations are played, and when an episode ends, unless the fields below say otherwise. In ScienceWorld one
    of `quick`, `dev`, `seed`, `swiftsage`, `full`."""
    split: Literal["train", "dev", "test"] | None = None
    """Whose variations the protocol plays; null: its own. The env-runner records it for `quick`, which played test
    variations in runs that lack it."""
    tasks: Annotated[tuple[Name, ...], Field(max_length=100, fail_fast=True)] | None = None
    """Task ids or names; null: all of the world's."""
    variations: Annotated[tuple[Variation, ...], Field(max_length=2_000, fail_fast=True)] | None = None
    """Variations of each task; null: those of the protocol."""
    agent: AgentConfig = AgentConfig()
    """Who plays."""
    limits: Limits | None = None
    """Null: those of the protocol."""
    options: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Of the world, which checks them; null: its default, in ScienceWorld `easy`."""
    simplifications: Annotated[str, StringConstraints(max_length=200)] | None = None
    """The old name of `options`, which counts where that is null."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Drives sampling and random sub-goals; the simulator takes no seed."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """How often each variation is played. With two or more, intervals tell luck of play apart."""


class CheckpointMismatch(Contract):
    """Why a worker does not play an evaluation now: it finds another checkpoint, environment or planner."""

    what: str
    """`controller`, `first sub-goal's controller`, `executor`, `environment` or `planner`."""
    expected: str
    """What the evaluation was submitted for; of a checkpoint its name, hash, prompt format, engine and number type."""
    found: str
    """What the worker finds instead; as much as it knows."""
    worker: str
    """Which worker says so; another one may play the evaluation meanwhile."""
    since: str
    """ISO 8601, UTC."""

    def __str__(self) -> str:
        return f"{self.what} is {self.found}; the evaluation was submitted for {self.expected}"


class EvaluationStatus(Contract):
    """Answer of `GET /v1/evaluations/{id}`."""

    id: str
    request: EvaluationRequest
    state: Literal["queued", "running", "cancelled", "finished"]
    created: str
    """ISO 8601, UTC."""
    versions: Versions | None = None
    episodes: int
    """How many the evaluation has."""
    finished: int
    """With a result, errored ones included."""
    errored: int
    running: int
    mean_score: float | None = None
    """Mean over the finished episodes so far, 0 to 100; the table's headline is the mean over task types."""
    agent_name: str = ""
    """What tables call the agent, e.g. `hierarchical, no repair`."""
    waiting: CheckpointMismatch | None = None
    """Set while a worker waits for the checkpoints that the evaluation was submitted for."""


class EvaluationPage(Contract):
    """Answer of `GET /v1/evaluations`."""

    items: tuple[EvaluationStatus, ...]
    """The newest first."""
    next_cursor: str | None
    """Ask with it for what follows; null on the last page."""


class EpisodeEntry(Contract):
    """One episode of an evaluation, finished or not."""

    id: str
    task: str
    """Task id, e.g. `1-1`."""
    variation: int
    repeat: int = 0
    """Which play of the variation this is, from 0."""
    result: EpisodeResult | None
    """Light; null while there is none."""


class EpisodePage(Contract):
    """Answer of `GET /v1/evaluations/{id}/episodes`."""

    items: tuple[EpisodeEntry, ...]
    """In the order of play."""
    next_cursor: str | None
    """Ask with it for what follows; null on the last page."""
