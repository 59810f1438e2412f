"""The scores and other figures of an evaluation, and the published figures."""

from __future__ import annotations

from pydantic import Field

from waymark.contracts.base import Contract


class TaskScore(Contract):
    """One task type: means over its episodes, in points of 100."""

    id: str
    name: str
    group: str
    """One of the world's groups."""
    episodes: int
    mean: float
    raw_mean: float
    """Negative scores count as they are."""
    last_nonnegative_mean: float
    success_rate: float
    """Share of episodes that reached 100, 0 to 1."""
    ci95: tuple[float, float] | None
    """Bootstrap interval of the mean; None if there are too few variations to resample."""
    ci95_play: tuple[float, float] | None = None
    """The interval for other plays of the same variations: randomness of play alone. None if they were played once."""


class Effort(Contract):
    """The effort of an episode, on average over all episodes."""

    moves: float
    """Of the simulator."""
    actions: float
    turns: float
    model_calls: float
    tokens: float
    """Read and written by all models together."""
    repaired: float
    """Number of actions that were replaced because the environment did not know them."""
    seconds: float
    """Wall time of play."""


class ErrorKind(Contract):
    """Episodes that errored for the same kind of reason."""

    kind: str
    message: str
    """Of the first of them."""
    episodes: tuple[str, ...]
    """`task/variation` of each episode, e.g. `1-1/21`; for the second play ` repeat 1` follows."""


class Summary(Contract):
    """An evaluation in figures. All means are over task types, in points of 100."""

    episodes: int
    mean: float
    """The main score."""
    ci95: tuple[float, float] | None
    """Bootstrap interval of the main score; None if there are too few variations to resample."""
    ci95_play: tuple[float, float] | None = None
    """The interval for other plays of the same variations: randomness of play alone. None if they were played once."""
    repeats: int = 1
    """Largest number of plays of a variation."""
    repeat_means: tuple[float, ...] = ()
    """The main score of each repeat alone, in their order; empty if there is one repeat."""
    randomness: tuple[str, ...] = ()
    """A sentence about the sources of randomness, and how far the intervals include them."""
    raw_mean: float
    last_nonnegative_mean: float
    success_rate: float
    """Mean over task types, 0 to 1."""
    groups: dict[str, float]
    """Mean over the task types of each group that was played."""
    tasks: tuple[TaskScore, ...]
    effort: Effort
    rules: dict[str, int] = Field(default_factory=dict)
    """In how many turns of all episodes each rule of play acted, most often first."""
    errors: tuple[ErrorKind, ...]


class PublishedMethod(Contract):
    """A published agent's means over the 30 task types; None where the source gives none."""

    method: str
    model: str
    overall: float
    groups: dict[str, float]
    provenance: str


class PublishedColumns(Contract):
    """Published scores of the task types that an evaluation has played, method by method, 0 to 100."""

    methods: tuple[str, ...]
    """In the order of the columns."""
    tasks: dict[str, dict[str, float]]
    """By task id."""
    groups: dict[str, dict[str, float]]
    """Means over the task types that were played of each group."""
    overall: dict[str, float]
    """Means over all that were played."""


class EvaluationSummary(Contract):
    """Answer of `GET /v1/evaluations/{id}/summary`: the final table as figures."""

    evaluation: str
    summary: Summary
    """Of the results so far."""
    published: PublishedColumns
    """For the same task types."""
    methods: tuple[PublishedMethod, ...]
    """Published means over all 30 task types."""
    notes: tuple[str, ...]
    """Notes on what a comparison with published figures can show."""
