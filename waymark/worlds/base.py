"""The interface of a text world: everything that agents, serving, evaluation and training need from it.

A world provides its tasks and splits, an environment, an action grammar, a parser of scenes, a sub-goal annotator,
prompt formats, rules of play, protocols and published scores. It uses neither agents nor services nor queues.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Literal, runtime_checkable
from typing import Protocol as Interface

from waymark.contracts import AgentState, Opening, Role
from waymark.errors import InvalidInput

if TYPE_CHECKING:
    from waymark.agent.world_port import AgentWorld

Split = Literal["train", "dev", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "dev", "test")
SOLVED: Final = 100
"""The score of a solved episode, in every world: environments scale their scores to points of 100."""
LOWEST: Final = -100
"""The lowest raw score of an episode, in every world."""


# --- tasks -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskType:
    """One type of task with its variations, numbered from 0: first those of train, then dev, then test."""

    id: str
    """The published id, e.g. `1-1`; letters, digits, `-`."""
    name: str
    """The environment's name for it, e.g. `boil`."""
    group: str
    """One of the world's groups."""
    train: int
    """Number of training variations; `dev` and `test` likewise."""
    dev: int
    test: int

    @property
    def variations(self) -> int:
        """The number of variations; they are numbered from 0."""
        return self.train + self.dev + self.test

    def split(self, split: Split) -> range:
        """The variations of one split."""
        starts = {"train": 0, "dev": self.train, "test": self.train + self.dev}
        sizes = {"train": self.train, "dev": self.dev, "test": self.test}
        return range(starts[split], starts[split] + sizes[split])

    def split_of(self, variation: int) -> Split:
        """Which split a variation belongs to."""
        return next(split for split in SPLITS if variation in self.split(split))


# --- environment -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one action. `look` and `inventory` are those after the action."""

    observation: str
    look: str
    inventory: str
    score: int
    """Raw score after the action, -100 to 100."""
    moves: int
    """Moves since the start of the episode, as the environment counts them."""
    completed: bool
    """Whether the environment has ended the task, solved or failed."""
    known: bool
    """False if the environment did not understand the action; then nothing has changed."""
    ambiguous: bool = False
    """True if the environment asked which of several readings was meant; reading 0 was taken."""


class Environment(Interface):
    """A text environment that plays one episode at a time.

    Methods raise EnvironmentFault if the simulator hangs, dies or refuses, or reports an error as text. Such a text
    never becomes an observation. The object must then be closed and replaced. `options` are the world's own, as
    `World.check_options` reads them. `reset` and `gold_path` raise InvalidInput for a task, a variation or options that
    the world does not have.
    """

    def reset(self, task_id: str, variation: int, options: str) -> Opening:
        """Begin an episode."""
        ...

    def gold_path(self, task_id: str, variation: int, options: str) -> list[str]:
        """The actions of the environment's own solution. Slow. It ends the running episode: call `reset` next."""
        ...

    def step(self, action: str) -> Step:
        """Take one action, a string of the environment."""
        ...

    def valid_actions(self) -> list[str]:
        """Every action that the environment would accept now."""
        ...

    def close(self) -> None:
        """End the simulator. Idempotent."""
        ...


# --- actions, scenes, sub-goals --------------------------------------------------------------------------


class Grammar(Interface):
    """The environment's actions in functional form, e.g. `pick up thermometer` and `PICK(thermometer)`."""

    def formal(self, action: str) -> str:
        """An environment's action in functional form. Raises UnparsableAction."""
        ...

    def plain(self, formal: str) -> str:
        """The inverse of `formal`. Raises UnparsableAction."""
        ...


@dataclass(frozen=True, slots=True)
class PathStep:
    """One step of an oracle path: an action and the environment's answer."""

    action: str
    observation: str
    perturbation: bool = False
    """True for a step that was inserted on purpose and does not lead to the goal; always a segment of its own."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One sub-goal and the half-open range of steps that reach it."""

    subgoal: str
    start: int
    stop: int


COMPLETE: Final = "complete_task()"
"""The sub-goal after the last one: the agent believes that it is done."""


# --- prompts ---------------------------------------------------------------------------------------------


class PromptFormat(Interface):
    """One way of writing states and decisions as text. A checkpoint's card names one."""

    @property
    def name(self) -> str:
        """What cards call it; unique over all worlds."""
        ...

    @property
    def history_turns(self) -> int:
        """The number of last turns that a prompt shows; callers need not send more."""
        ...

    def render(self, role: Role, state: AgentState) -> str:
        """The model's input for a state."""
        ...

    def target(self, role: Role, decision: str | None) -> str:
        """The model's output for a decision: a sub-goal, an environment's action, or None (the sub-goal ended)."""
        ...

    def parse(self, role: Role, text: str) -> str | None:
        """The decision in a model's text: the inverse of `target`. Raises UnparsableAction."""
        ...


@runtime_checkable
class ExplainingFormat(PromptFormat, Interface):
    """A format whose models write a reason before some decisions. `parse` reads the decision alone."""

    def explain(self, role: Role, state: AgentState, decision: str | None) -> str:
        """The model's output for a decision in a state: what it is trained to write."""
        ...


REASON_END: Final = " : "
"""The text between the reason, which an `ExplainingFormat` writes first, and the decision."""


def decision_of(target: str) -> str:
    """The decision in a model's output, without the reason before it.

    >>> decision_of("dominant , focus on green box : focus_on green box")
    'focus_on green box'
    """
    return target.rpartition(REASON_END)[2]


# --- protocols and published scores ----------------------------------------------------------------------


@dataclass(frozen=True)
class Protocol:
    """A named set of variations with limits."""

    name: str
    split: Split
    variations: int | None
    """The first this many variations of each task's split; None: all of them."""
    moves: int
    """Moves of an episode; the limit is passed when moves > this."""
    patience: int | None
    """Turns without a change of score before giving up; None: never."""
    description: str
    """One sentence for help texts and reports."""

    earlier_split: Split | None = None
    """The split that it played before requests recorded a split; None: the same as now."""

    def variations_of(self, task: TaskType, split: Split | None = None) -> tuple[int, ...]:
        """The variations of a task that this protocol plays, of its own or of another split."""
        return tuple(task.split(split or self.split)[: self.variations])


@dataclass(frozen=True)
class PublishedAgent:
    """A published agent's mean scores, in points of 100."""

    method: str
    model: str
    overall: float
    groups: Mapping[str, float]
    provenance: str
    """Who reported the scores, and where."""


@dataclass(frozen=True)
class PublishedScores:
    """Published scores for a world, with notes on what comparisons with them can show."""

    agents: Sequence[PublishedAgent] = ()
    tasks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Scores by task id and method; empty if the sources give none."""
    columns: Sequence[str] = ()
    """The methods in `tasks`, in the order of reports."""
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class EnvironmentLimits:
    """Limits of one environment."""

    memory_mb: float = 2_000
    """Megabytes of memory; an environment that uses more is ended."""
    timeout: float = 60.0
    """Seconds that one call may take. After that the environment counts as hung and is ended."""
    cache: Path | None = None
    """A folder in which environments store compiled code for a faster start of later ones; None: they store nothing."""


# --- the world -------------------------------------------------------------------------------------------


class World(ABC):
    """One text world. Subclasses have no state; `open` makes an environment, which has."""

    name: ClassVar[str]
    """As `--world` takes it, e.g. `scienceworld`."""
    title: ClassVar[str]
    """The name in reports, e.g. `ScienceWorld`."""
    tasks: ClassVar[tuple[TaskType, ...]]
    groups: ClassVar[tuple[str, ...]]
    """In the order of reports."""
    protocols: ClassVar[Mapping[str, Protocol]]
    """By name; the first is the default."""
    formats: ClassVar[tuple[PromptFormat, ...]]
    default_options: ClassVar[str] = ""
    example_task: ClassVar[str]
    """A short task, for example commands in messages."""
    example_subgoals: ClassVar[tuple[str, ...]]
    """About two sub-goals, for texts that explain the answers of a controller. `example_actions` is the same for
    executors."""
    example_actions: ClassVar[tuple[str, ...]]
    checkpoints: ClassVar[str] = ""
    """The folder of its shipped checkpoints in `checkpoints/`; empty: `checkpoints/` itself."""
    forbidden_actions: ClassVar[tuple[str, ...]] = ()
    """Actions, in lower case and with single spaces, that restart the episode. The grammar refuses them, the
    environment never executes them, and no model's answer is read as one."""
    waiting_action: ClassVar[str | None] = None
    """The action of an agent that believes it is done; None: its episode ends."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Optional modules that its environment imports, e.g. `py4j`."""
    extra: ClassVar[str] = "env"
    """The extra of the distribution that installs them."""
    published: ClassVar[PublishedScores] = PublishedScores()
    randomness: ClassVar[str] = ""
    """A sentence for reports: why a repeated play of the same episodes may give other scores. Empty if it may not."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The environment with its version, e.g. `scienceworld 1.2.3`; recorded in every result."""

    @property
    @abstractmethod
    def grammar(self) -> Grammar:
        """How actions are written."""

    @property
    @abstractmethod
    def agent(self) -> AgentWorld:
        """The agent's port to this world, with its rules of play."""

    @abstractmethod
    def open(self, limits: EnvironmentLimits) -> Environment:
        """Start an environment. Raises EnvironmentFault with the remedy where it cannot run here."""

    @abstractmethod
    def check_options(self, options: str, tasks: Sequence[TaskType]) -> None:
        """Raise InvalidInput (field `options`) with the allowed values if these tasks cannot be played with these
        options.
        """

    def check_runnable(self) -> None:  # noqa: B027 - a world that runs everywhere has nothing to check
        """Raise EnvironmentFault, with a remedy, if the world cannot run on this machine. Starts nothing."""

    @abstractmethod
    def room_of(self, look: str) -> str | None:
        """The room that a look describes, as in prompts; None if it names none."""

    def recognises(self, state: AgentState) -> bool:
        """Whether a state can be one of this world. By default: its look names a room. Linear in the look."""
        return self.room_of(state.look) is not None

    @abstractmethod
    def annotate(self, task: str, steps: Sequence[PathStep]) -> list[Segment]:
        """Split an oracle path into sub-goals, by rules alone. The segments cover every step, in order."""

    def find_task(self, name: str) -> TaskType:
        """The task type with that id or name. Raises InvalidInput (field `tasks`) that lists the ids."""
        return find_task(self.tasks, name, self.title)

    def check_variation(self, task: TaskType, variation: int) -> int:
        """The variation itself, if the task has it; else InvalidInput (field `variations`)."""
        return check_variation(task, variation)


def find_task(tasks: Sequence[TaskType], name: str, title: str) -> TaskType:
    """The one of a world's task types with that id or name. Raises InvalidInput (field `tasks`) that lists the ids."""
    wanted = name.strip()
    for task in tasks:
        if wanted in (task.id, task.name):
            return task
    raise InvalidInput(
        f"Unknown task {name!r} of {title}.",
        remedy=f"Use an id or its name; ids are {', '.join(task.id for task in tasks)}.",
        field="tasks",
    )


def check_variation(task: TaskType, variation: int) -> int:
    """The variation itself, if the task has it; else InvalidInput (field `variations`)."""
    if not 0 <= variation < task.variations:
        raise InvalidInput(
            f"Variation {variation} of task {task.id} is out of range.",
            remedy=f"Task {task.id} ({task.name}) has variations 0 to {task.variations - 1}; "
            f"test variations are {task.split('test').start} to {task.split('test').stop - 1}.",
            field="variations",
        )
    return variation


WorldFactory = Callable[[], World]
