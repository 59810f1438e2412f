"""One episode of an evaluation: what is played, its turns, and its result."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import ConfigDict, Field

from waymark.contracts.agent import AgentConfig
from waymark.contracts.base import Contract, Score
from waymark.contracts.service import CheckpointInfo


class Limits(Contract):
    """When an episode ends without being solved."""

    moves: Annotated[int, Field(ge=1, le=10_000)]
    """Largest number of simulator moves; the limit is passed when moves > this."""
    turns: Annotated[int, Field(ge=1, le=20_000)]
    """Largest number of turns of the loop. Actions, free ones too, and ended sub-goals are turns."""
    patience: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Stop after this many turns without a change of score; null: never."""
    repetition: Annotated[int, Field(ge=3, le=1_000_000)] | None = None
    """Stop when this many actions in a row are at most two distinct ones; null: never."""


class EpisodeSpec(Contract):
    """One episode to play: the unit of work in the queue."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    id: str
    """Derived from evaluation, task, variation, seed, agent and repeat: the same input gives the same id."""
    evaluation: str
    task: str
    """Task id, e.g. `1-1`."""
    variation: int
    repeat: Annotated[int, Field(ge=0)] = 0
    """Which play of the variation this is, from 0."""
    options: str = Field(alias="simplifications")
    """Options of the world. Records keep the first name of this field: the ids of episodes depend on it."""
    seed: int
    agent: AgentConfig
    limits: Limits


class Considered(NamedTuple):
    """One alternative of a model's answer, as a turn records it; in JSON an array of these two values."""

    text: str | None
    """The sub-goal or the action; null: the executor ends the sub-goal."""
    logprob: float
    """Natural logarithm of its probability, rounded to 3 digits."""


class TurnRecord(Contract):
    """One turn of an episode in the results."""

    turn: int
    """From 1."""
    subgoal: str | None
    """The sub-goal in force."""
    controller_called: bool
    """True if the controller gave that sub-goal in this turn."""
    action: str | None
    """The executed action; null if the executor ended the sub-goal, or if nothing that it wrote was an action."""
    proposed: str | None
    """The executor's first answer; differs from `action` after a repair. If `action` is null: the text that was not an
    action."""
    logprob: float | None
    """The executor's log-probability (natural logarithm) of its first answer."""
    repaired: bool = False
    known: bool = True
    """False if the environment did not understand the executed action, or if the executor wrote no action."""
    ambiguous: bool = False
    observation: str = ""
    look: str = ""
    inventory: str = ""
    score: Score = 0
    reward: int = 0
    moves: int = 0
    seconds: float = 0.0
    subgoals: tuple[Considered, ...] = ()
    """The controller's alternatives in this turn, best first, as arrays of text and log-probability: at most 5, and the
    one that was followed. Empty if the controller was not asked, and in results of older versions."""
    actions: tuple[Considered, ...] = ()
    """The executor's alternatives in this turn, in the same form."""
    rules: tuple[str, ...] = ()
    """Names of the rules of play that acted in this turn."""


Asked = Literal["controller", "first", "executor"]
"""Names for the checkpoints of an evaluation; `Versions` has a field for each."""


class Versions(Contract):
    """The versions of everything that produced a result."""

    waymark: str
    """Version of this package."""
    commit: str | None
    """Commit of the checkout with the code that played; null if there is no checkout."""
    modified: bool | None = None
    """Whether that code differed from the commit; null without a commit, and in results of older versions."""
    environment: str
    """The environment with its version, e.g. `scienceworld 1.2.3`."""
    controller: CheckpointInfo | None
    """The controller's checkpoint; null for an agent that asks none."""
    first: CheckpointInfo | None = None
    """The checkpoint for the first sub-goal; null if the controller names it."""
    executor: CheckpointInfo
    planner: str | None = None
    """Of `llm_plan`: the model and the address of its endpoint; null for other agents."""


class Opening(Contract):
    """The texts that an agent sees before its first action."""

    task: str
    """The task description, one line, without the heading."""
    look: str
    """The answer that `look around` would give."""
    inventory: str


class EpisodeError(Contract):
    """Why an episode could not be finished."""

    kind: str
    """Name of the error, see `waymark.errors`."""
    message: str


class MadeBy(Contract):
    """The checkpoints that made the decisions of an episode: the first 12 digits of each hash.

    Null for a checkpoint that was not asked; empty for a model without weights.
    """

    controller: str | None = None
    first: str | None = None
    executor: str | None = None


class RuleUse(Contract):
    """How often one rule of play acted in an episode."""

    rule: str
    turns: int
    """In how many turns it acted."""


Stopped = Literal["completed", "failed", "moves", "turns", "patience", "error", "cancelled"]
"""Why an episode ended."""


class EpisodeResult(Contract):
    """One finished episode. A *light* result leaves out the turns and the fields that all episodes of an evaluation
    share.
    """

    id: str
    """Derived from evaluation, task, variation, seed, agent and repeat."""
    evaluation: str
    task: str
    """Task id, e.g. `1-1`."""
    variation: int
    repeat: Annotated[int, Field(ge=0)] = 0
    """Which play of the variation this is, from 0."""
    seed: int
    score: Annotated[int, Field(ge=0, le=100)]
    """max(0, raw_score); 0 for an episode that errored."""
    raw_score: Score
    """The environment's score at the end, -100 to 100."""
    last_nonnegative_score: Annotated[int, Field(ge=0, le=100)]
    """The last score before it went negative."""
    success: bool
    """The score is 100."""
    moves: int
    """Moves, as the simulator counts them."""
    actions: int
    """Number of actions executed in the environment, including free and unknown ones."""
    turns: int
    """Number of turns of the loop: actions and ended sub-goals."""
    model_calls: int
    """Number of requests to controller and executor together."""
    tokens: int = 0
    """Prompt and completion tokens of all model calls."""
    prompt_tokens: int = 0
    """Tokens that the models read."""
    completion_tokens: int = 0
    """Tokens that the models wrote."""
    repaired: int
    """Number of actions that were replaced because the environment did not know them."""
    unparsed: int = 0
    """Number of answers of controller and executor that could not be parsed."""
    rules: tuple[RuleUse, ...] = ()
    """The rules of play that acted, most often first; empty in results of older versions."""
    stopped: Stopped
    """Why the episode ended. `failed`: the score became negative. `patience`: too many turns without a change of score,
    or a repetition."""
    error: EpisodeError | None = None
    """Null for an episode that was played to its end."""
    seconds: float
    """Wall time of play, in seconds."""
    agent: AgentConfig | None = None
    """The agent that played it; null in a light result."""
    checkpoints: MadeBy | None = None
    """The checkpoints that made its decisions. The checkpoint of each decision was checked, so all turns share them.
    Null in a result of an older version."""
    versions: Versions | None = None
    """The versions that the worker found when it played the episode; null in a light result."""
    opening: Opening | None = None
    """The texts before the first turn; null in a light result, and if the environment never opened."""
    trajectory: tuple[TurnRecord, ...] = ()
    """Every turn, in order; empty in a light result."""

    @classmethod
    def of(
        cls,
        spec: EpisodeSpec,
        stopped: Stopped,
        *,
        raw_score: int = 0,
        error: EpisodeError | None = None,
        **figures: Any,
    ) -> Self:
        """The result of an episode with this specification. `figures` are further fields; missing counts are 0.

        An episode that ended in an error scores 0, even if it had points.
        """
        score = 0 if error else max(0, raw_score)
        counts = dict.fromkeys(("moves", "actions", "turns", "model_calls", "repaired"), 0)
        identity = spec.model_dump(include={"id", "evaluation", "task", "variation", "repeat", "seed"})
        return cls(
            **{"last_nonnegative_score": max(0, raw_score), "seconds": 0.0, **counts, **identity, **figures},
            score=score,
            raw_score=raw_score,
            success=score == 100,
            stopped=stopped,
            error=error,
            agent=spec.agent,
        )

    def without_trajectory(self) -> EpisodeResult:
        """The light result: without turns and the fields that all episodes of an evaluation share."""
        return self.model_copy(update={"agent": None, "versions": None, "opening": None, "trajectory": ()})
