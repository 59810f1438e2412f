"""Evaluations as the env-runner's API has them: the request, the status, and pages of episodes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from waymark.contracts.agent import AgentConfig
from waymark.contracts.base import Contract, Name
from waymark.contracts.episode import EpisodeResult, Limits, Versions

Variation = Annotated[int, Field(ge=0, le=1_000_000)]


class EvaluationRequest(Contract):
    """`POST /v1/evaluations`: a protocol, or your own choice of tasks and variations."""

    world: Name | None = None
    """The world to play, e.g. `scienceworld`. Null: the env-runner's world, which is the only one that it accepts."""
    protocol: Name = "quick"
    """The protocol: it sets the variations and the limits, unless the fields below set them. In ScienceWorld one of
    `quick`, `dev`, `seed`, `swiftsage`, `full`."""
    split: Literal["train", "dev", "test"] | None = None
    """The split whose variations the protocol plays; null: the protocol's own. The env-runner records it for `quick`;
    runs of `quick` without it played test variations."""
    tasks: Annotated[tuple[Name, ...], Field(max_length=100, fail_fast=True)] | None = None
    """Task ids or names; null: all of the world's."""
    variations: Annotated[tuple[Variation, ...], Field(max_length=2_000, fail_fast=True)] | None = None
    """Variations of each task; null: those of the protocol."""
    agent: AgentConfig = AgentConfig()
    """The agent that plays."""
    limits: Limits | None = None
    """When an episode ends; null: the limits of the protocol."""
    options: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Options of the world, which checks them; null: its default, in ScienceWorld `easy`."""
    simplifications: Annotated[str, StringConstraints(max_length=200)] | None = None
    """The old name of `options`; used if `options` is null."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of sampling and of random sub-goals. The simulator takes no seed."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """How often each variation is played. With two or more, intervals separate the randomness of play."""


class CheckpointMismatch(Contract):
    """The reason why a worker does not play an evaluation now: it has another checkpoint, environment or planner."""

    what: str
    """`controller`, `first sub-goal's controller`, `executor`, `environment` or `planner`."""
    expected: str
    """What the evaluation needs; for a checkpoint its name, hash, prompt format, engine and number type."""
    found: str
    """What the worker has instead, as far as it knows."""
    worker: str
    """The worker that waits; another one may play the evaluation meanwhile."""
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
    """Number of episodes of the evaluation."""
    finished: int
    """Number of episodes with a result, including errored ones."""
    errored: int
    running: int
    mean_score: float | None = None
    """Mean over the episodes finished so far, 0 to 100. The main score in tables is the mean over task types."""
    agent_name: str = ""
    """The agent's name in tables, e.g. `hierarchical, no repair`."""
    waiting: CheckpointMismatch | None = None
    """Set while a worker waits for the checkpoints of the evaluation."""


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
