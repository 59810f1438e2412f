"""One episode of an evaluation: what is played, its turns, and its result."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field

from waymark.contracts.agent import AgentConfig
from waymark.contracts.base import Contract, Score
from waymark.contracts.service import CheckpointInfo


class Limits(Contract):
    """When an episode ends without being solved."""

    moves: Annotated[int, Field(ge=1, le=10_000)]
    """Simulator moves; passed when moves > this."""
    turns: Annotated[int, Field(ge=1, le=20_000)]
    """Turns of the loop: actions, free ones too, and ended sub-goals."""
    patience: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Stop after this many turns without a change of score; null: never."""
    repetition: Annotated[int, Field(ge=3, le=1_000_000)] | None = None
    """Stop when this many actions in a row are at most two distinct ones; null: never."""


class EpisodeSpec(Contract):
    """One episode to play: the unit of work in the queue."""

    id: str
    """Derived from evaluation, task, variation, seed, agent and repeat: the same input gives the same id."""
    evaluation: str
    task: str
    """Task id, e.g. `1-1`."""
    variation: int
    repeat: Annotated[int, Field(ge=0)] = 0
    """Which play of the variation this is, from 0."""
    simplifications: str
    seed: int
    agent: AgentConfig
    limits: Limits


class Considered(NamedTuple):
    """One alternative that a model gave, as a turn records it; in JSON an array of these two."""

    text: str | None
    """The sub-goal or the action; null: the executor ends the sub-goal."""
    logprob: float
    """Natural logarithm of its probability, rounded to 3 digits."""


class TurnRecord(Contract):
    """One turn of an episode as it stands in the results."""

    turn: int
    """From 1."""
    subgoal: str | None
    """The sub-goal in force."""
    controller_called: bool
    """True when that sub-goal was asked for in this turn."""
    action: str | None
    """What was executed; null when the executor ended the sub-goal, or when nothing that it wrote was an action."""
    proposed: str | None
    """What the executor said first; differs from `action` after a repair. Beside a null `action`: the text that was no
    action."""
    logprob: float | None
    """The executor's log-probability of what it said first."""
    repaired: bool = False
    known: bool = True
    """False when the environment did not understand the executed action, or when the executor wrote none."""
    ambiguous: bool = False
    observation: str = ""
    look: str = ""
    inventory: str = ""
    score: Score = 0
    reward: int = 0
    moves: int = 0
    seconds: float = 0.0
    subgoals: tuple[Considered, ...] = ()
    """The controller's alternatives in this turn, best first, as arrays of text and log-probability: at most 5, and
    the one that was followed. Empty where it was not asked, and in results of older versions."""
    actions: tuple[Considered, ...] = ()
    """The executor's alternatives in this turn, in the same form."""
    rules: tuple[str, ...] = ()
    """Names of the rules of play that acted in this turn."""


Asked = Literal["controller", "first", "executor"]
"""Which of an evaluation's checkpoints is asked; the fields of `Versions` that hold them."""


class Versions(Contract):
    """What produced a result."""

    waymark: str
    """Of this package."""
    commit: str | None
    """Of the checkout that holds the code that played it; null outside of one."""
    modified: bool | None = None
    """Whether that code differed from the commit; null where there is no commit, and in results from before this."""
    environment: str
    """With its version, e.g. `scienceworld 1.2.3`."""
    controller: CheckpointInfo | None
    """Null for an agent that asks none."""
    first: CheckpointInfo | None = None
    """What answers in its place while there are no turns; null where the controller itself does."""
    executor: CheckpointInfo
    planner: str | None = None
    """Of `llm_plan`: the model and the address of its endpoint; null for other agents."""


class Opening(Contract):
    """What an agent sees before its first action."""

    task: str
    """The task description, one line, without the heading."""
    look: str
    """What `look around` would say."""
    inventory: str


class EpisodeError(Contract):
    """Why an episode could not be finished."""

    kind: str
    """Name of the error, see `waymark.errors`."""
    message: str


class MadeBy(Contract):
    """The checkpoints that made the decisions of an episode: the first 12 digits of each one's hash.

    Null for one that was not asked; empty for a model without weights.
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
    """One finished episode: whole, or light, which leaves out its turns and what all of an evaluation share."""

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
    """As it stood at the end; -100 after a wrong focus."""
    last_nonnegative_score: Annotated[int, Field(ge=0, le=100)]
    """The last score before it went negative."""
    success: bool
    """The score is 100."""
    moves: int
    """As the simulator counts them."""
    actions: int
    """Actions executed in the environment, free and unknown ones included."""
    turns: int
    """Of the loop: actions, and ended sub-goals."""
    model_calls: int
    """Of controller and executor together."""
    tokens: int = 0
    """Prompt and completion tokens of all model calls."""
    prompt_tokens: int = 0
    """What the models read."""
    completion_tokens: int = 0
    """What they wrote."""
    repaired: int
    """Actions that were replaced because the environment did not know them."""
    unparsed: int = 0
    """Answers of controller and executor that stood for no decision."""
    rules: tuple[RuleUse, ...] = ()
    """The rules of play that acted, most often first; empty in results of older versions."""
    stopped: Stopped
    """`failed`: the score went negative; `patience` stands for both rules against going in circles."""
    error: EpisodeError | None = None
    """Null for an episode that was played to its end."""
    seconds: float
    """Wall time of play."""
    agent: AgentConfig | None = None
    """Who played it; null in a light result."""
    checkpoints: MadeBy | None = None
    """The checkpoints that made its decisions. Each decision's was checked, so all turns share them; null in a result
    of an older version."""
    versions: Versions | None = None
    """What it was played with, as the worker found it; null in a light result."""
    opening: Opening | None = None
    """What the first turn began with; null in a light result, and where the environment never opened."""
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
        """The result of playing a spec. Other fields are `figures`; counts that are not given are 0.

        An episode that ended in an error scores 0, whatever it had reached.
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
        """Without its turns and what all of an evaluation share."""
        return self.model_copy(update={"agent": None, "versions": None, "opening": None, "trajectory": ()})
