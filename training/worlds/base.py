"""What training needs of a world beside `waymark.worlds.base.World`: which paths to record, and how to vary them.

Commands and modules of `training` know this interface alone and find a world by `training.worlds.registry`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from training.user_files import read_json
from waymark.contracts import AgentState, Role
from waymark.errors import InvalidInput
from waymark.worlds.base import PromptFormat, Split, TaskType, World

if TYPE_CHECKING:
    from training.annotations import Annotation
    from training.datasets import Decision, Example
    from training.llm.prompts import AnnotationPrompts
    from training.trajectories import PathKey, Record, Trajectory, Wanted

PathSource = Literal["expert", "shortened", "gold"]
"""Where paths come from: played anew by looking (expert), the simulator's own without detours (shortened), or those as
they are (gold). A world has some of them."""
TrainedAgent = Literal["hierarchical", "flat"]
"""Agents whose models are trained: controller and executor, or flat."""
Sampling = Literal["all", "published"]
"""Which variations: spread over each split, or those that were published for the world."""
PUBLISHED_SEED = 1
"""Shuffles the variations of tasks that a publication has down-sampled."""


@dataclass(frozen=True)
class RecordingRequest:
    """What `python -m training trajectories` is asked for. None: the world's default."""

    paths: PathSource | None = None
    sampling: Sampling = "all"
    limit: int | None = None
    """At most this many train variations of a task."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Task id to another limit."""
    takes: int | None = None
    """How many changed takes a task's train variations get together."""
    misplaced: int | None = None
    """How many takes more whose thing lies elsewhere."""
    options: str | None = None
    """Of the environment."""


class Recording(Protocol):
    """A set of paths to record."""

    @property
    def record(self) -> Record:
        """Makes the trajectories of one variation."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What a manifest says of it."""
        ...

    def plan(self, splits: Sequence[Split], tasks: Sequence[TaskType]) -> list[Wanted]:
        """The variations to record, so ordered that a stopped run is balanced over the tasks."""
        ...

    def parts(self, tasks: str) -> Path:
        """Where finished variations are kept; each recording has a file of its own."""
        ...


class Augmentation(Protocol):
    """Changes decisions while their examples are drawn, so that a model learns to copy and not to recite.

    It changes what was seen and done, never a prompt: the changed decision is written by the code that serves.
    """

    def reseed(self, seed: int) -> None:
        """Draw from here on as one made with this seed would."""
        ...

    def __call__(self, example: Example) -> Decision:
        """The example's decision, changed or not. Raises ValueError for an example whose decision is not known."""
        ...

    def is_drillable(self, example: Example) -> bool:
        """Whether `drill` makes something of an example."""
        ...

    def drill(self, example: Example) -> tuple[str, str]:
        """A copying drill: the beginning of a prompt that is enough to answer, and the answer."""
        ...


class Corrections(Protocol):
    """Ways on from where a trained agent goes astray (DAgger)."""

    @property
    def correct(self) -> Record:
        """Makes the corrections of one variation."""
        ...

    def plan(
        self,
        trajectories: Sequence[Trajectory],
        rollouts: int,
        misplaced: int,
        checkpoints: Path,
        agent: TrainedAgent,
        *,
        without_rules: bool,
    ) -> Sequence[Wanted]:
        """Which variations are played, and whether by the agent alone."""
        ...

    def first_take(self, rounds: int) -> int:
        """The number of the first take of a round."""
        ...

    def numbered(self, rows: Iterable[dict[str, Any]], rounds: int) -> Iterator[dict[str, Any]]:
        """The rows of a round with takes of its own."""
        ...


class SelfPlay(Protocol):
    """An agent's own solved episodes as data (expert iteration)."""

    @property
    def play(self) -> Record:
        """Makes the shortest solved episodes of one variation."""
        ...

    def plan(
        self,
        trajectories: Sequence[Trajectory],
        rollouts: int,
        most: int,
        checkpoints: Path,
        agent: TrainedAgent,
        *,
        temperature: float,
        without_rules: bool,
    ) -> Sequence[Wanted]:
        """At most `most` variations of each task type, each played `rollouts` times."""
        ...

    def is_own(self, trajectory: Trajectory) -> bool:
        """Whether a path is an agent's own solved episode."""
        ...


class TrainingWorld(ABC):
    """One world as training sees it. Stateless."""

    world: ClassVar[World]
    path_sources: ClassVar[tuple[PathSource, ...]]
    """The first is the default."""
    data: ClassVar[Path]
    """Default table of trajectories."""
    annotations: ClassVar[Path]
    """Default table of their sub-goals."""
    runs: ClassVar[Path]
    """Default folder of run folders."""
    checkpoints: ClassVar[Path]
    """Where its checkpoints ship, a folder a role."""
    recipe: ClassVar[Path]
    renamable: ClassVar[tuple[str, ...]] = ()
    """Prompt formats that `augmentation` can rename things in."""
    drillable: ClassVar[tuple[str, ...]] = ()
    """Prompt formats that it can make drills of."""
    refusal: ClassVar[str] = ""
    """What its environment answers to an action that it does not know; empty: failed attempts cannot be made up."""

    @property
    def name(self) -> str:
        """As `--world` takes it."""
        return self.world.name

    @abstractmethod
    def recording(self, request: RecordingRequest) -> Recording:
        """What to record. Raises InvalidInput for what this world does not have."""

    def path_source(self, request: RecordingRequest) -> PathSource:
        """Where the paths of a request come from. Raises InvalidInput for a source that this world does not have."""
        source = request.paths or self.path_sources[0]
        if source not in self.path_sources:
            raise self._lacks(f"no paths {source!r}", f"Use one of {', '.join(self.path_sources)}.", "paths")
        return source

    def shipped_checkpoints(self) -> list[Path]:
        """The folders of the checkpoints that ship for this world: those whose prompt format is one of its own."""
        formats = {form.name for form in self.world.formats}
        cards = sorted(self.checkpoints.rglob("card.json"))
        return [card.parent for card in cards if read_json(card, "a checkpoint's card").get("prompt_format") in formats]

    @abstractmethod
    def table(self, paths: PathSource | None) -> Path:
        """The default table for paths of a source."""

    @abstractmethod
    def default_format(self, role: Role, *, as_published: bool) -> str:
        """The prompt format of a dataset whose command names none."""

    def augmentation(
        self,
        corpus: Sequence[Example],  # noqa: ARG002
        *,
        share: float,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> Augmentation | None:
        """What changes decisions as they are drawn; `share` of them are renamed. None: this world has nothing."""
        return None

    def is_answer(self, example: Example) -> bool:  # noqa: ARG002
        """Whether a decision answers the question that its task is about (`Recipe.answers`)."""
        return False

    def is_out_of_sight(self, subgoal: str, state: AgentState) -> bool:  # noqa: ARG002
        """Whether a sub-goal cannot be reached here, because it names what is neither here nor carried."""
        return False

    def published_variations(self, task: TaskType, seed: int = PUBLISHED_SEED) -> list[int]:  # noqa: ARG002
        """A task's variations, of all splits, that published data hold. Raises InvalidInput where there are none."""
        raise self._lacks("no published sampling", "Use --sampling all.", "sampling")

    def require_published(self, prompt_format: PromptFormat) -> None:  # noqa: ARG002
        """Raise InvalidInput for a format that was not published."""
        raise self._lacks("no published data", "Leave out --as-published.", "as_published")

    def published_examples(
        self,
        trajectories: Iterable[Trajectory],  # noqa: ARG002
        annotations: Mapping[PathKey, Annotation],  # noqa: ARG002
        role: Role,  # noqa: ARG002
        prompt_format: PromptFormat,
        *,
        flat_ends: bool,  # noqa: ARG002
    ) -> list[Example]:
        """The examples of a role as published. Raises InvalidInput where none were."""
        self.require_published(prompt_format)
        return []

    def corrections(self) -> Corrections:
        """How a trained agent is corrected. Raises InvalidInput where that cannot be done."""
        raise self._lacks("no expert that could correct an agent", "Record more paths instead.", "world")

    def self_play(self) -> SelfPlay:
        """How an agent plays training variations for data. Raises InvalidInput where that cannot be done."""
        raise self._lacks("no self-play", "Record more paths instead.", "world")

    def audit_rules(self) -> Callable[[Iterable[Trajectory], Mapping[PathKey, Annotation]], Any]:
        """Counts how often rules of play would refuse the oracle. Raises InvalidInput for a world without rules."""
        raise self._lacks("no rules of play", "There is nothing to audit.", "world")

    def check_fold(self, fold: int) -> None:  # noqa: ARG002
        """Raise InvalidInput for a fold of things that this world has not."""
        raise self._lacks("no folds of things", "Leave out --leave-out.", "leave_out")

    def left_out(self, trajectories: Sequence[Trajectory], fold: int) -> Callable[[Trajectory], bool]:  # noqa: ARG002
        """Whether a path asks for a thing of the fold. Raises InvalidInput."""
        self.check_fold(fold)
        return lambda _: False

    def held_out(
        self,
        trajectories: Sequence[Trajectory],  # noqa: ARG002
        fold: int,
        most: int,  # noqa: ARG002
    ) -> dict[str, dict[str, list[int]]]:
        """Variations to judge an agent by that was trained without a fold: of each task type at most `most`, by the
        thing that they ask for. Raises InvalidInput."""
        self.check_fold(fold)
        return {}

    def fold_table(self, trajectories: Sequence[Trajectory]) -> str:  # noqa: ARG002
        """The folds as a Markdown table. Raises InvalidInput."""
        self.check_fold(0)
        return ""

    @property
    def subgoals_file(self) -> Path:
        """Where the training sub-goals ship that an agent with random ones draws from. Raises InvalidInput."""
        raise self._lacks("no list of sub-goals in the package", "Name a file: --output FILE.", "output")

    def annotation_prompts(self) -> AnnotationPrompts:
        """What a large model is told before it annotates paths. Raises InvalidInput where nothing is known."""
        raise self._lacks("no prompts for a large model", "Annotate by rule: --annotator rule.", "annotator")

    def _lacks(self, lacking: str, remedy: str, name: str) -> InvalidInput:
        return InvalidInput(f"{self.world.title} has {lacking}.", remedy=remedy, field=name)
