"""The interface of a world for training: which paths to record, and how to vary them.

It adds to `waymark.worlds.base.World`. Commands and modules of `training` know only this interface, and find a world
in `training.worlds.registry`.
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
"""Where paths come from: a scripted expert that uses only observations (expert), the simulator's own paths without
detours (shortened), or those paths unchanged (gold). A world has at least one of these sources."""
TrainedAgent = Literal["hierarchical", "flat"]
"""The agents that can be trained: `hierarchical` has a controller and an executor, `flat` has one model."""
Sampling = Literal["all", "published"]
"""The variations to use: spread over each split (all), or those of the world's publication (published)."""
PUBLISHED_SEED = 1
"""The seed that shuffles the variations of tasks of which a publication uses only a part."""


@dataclass(frozen=True)
class RecordingRequest:
    """The options of `python -m training trajectories`. None: the world's default."""

    paths: PathSource | None = None
    sampling: Sampling = "all"
    limit: int | None = None
    """The largest number of train variations of a task."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Task id to the limit of this task, which replaces `limit`."""
    takes: int | None = None
    """The number of perturbed takes of a task, over all of its train variations."""
    misplaced: int | None = None
    """The number of further takes in which the task's thing lies in another room."""
    options: str | None = None
    """Options of the environment, in the world's own notation."""


class Recording(Protocol):
    """A set of paths to record."""

    @property
    def record(self) -> Record:
        """The function that records the trajectories of one variation."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of this recording, for the manifest of its table."""
        ...

    def plan(self, splits: Sequence[Split], tasks: Sequence[TaskType]) -> list[Wanted]:
        """The variations to record. Their order keeps a run that is stopped early balanced over the tasks."""
        ...

    def parts(self, tasks: str) -> Path:
        """The file of finished variations. Different recordings use different files."""
        ...


class Augmentation(Protocol):
    """Data augmentation: changes decisions while examples are drawn, so that a model learns to copy names.

    It changes states and answers, never prompts. The code that also serves then writes the prompt.
    """

    def reseed(self, seed: int) -> None:
        """Restart the random numbers from this seed."""
        ...

    def __call__(self, example: Example) -> Decision:
        """The example's decision, changed or unchanged. Raises ValueError for an example without its decision."""
        ...

    def is_drillable(self, example: Example) -> bool:
        """Whether `drill` can be called for an example."""
        ...

    def drill(self, example: Example) -> tuple[str, str]:
        """A copying drill as prompt and target. The prompt is the shortest beginning that determines the answer."""
        ...


class Corrections(Protocol):
    """Corrections of a trained agent: paths that continue to the goal from states that it reached.

    This is DAgger (Ross, Gordon and Bagnell, AISTATS 2011).
    """

    @property
    def correct(self) -> Record:
        """The function that plays one variation and returns its corrections."""
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
        """The variations to play, in order. `rollouts` is the number of episodes of each task type, `misplaced` that
        of task types whose thing may lie in another room. `without_rules`: the agent uses no rules of play."""
        ...

    def first_take(self, rounds: int) -> int:
        """The number of the first take, if corrections of `rounds` agents are in the table already."""
        ...

    def numbered(self, rows: Iterable[dict[str, Any]], rounds: int) -> Iterator[dict[str, Any]]:
        """The rows with take numbers that no earlier agent's corrections have."""
        ...


class SelfPlay(Protocol):
    """Expert iteration: episodes that an agent solved itself become training data."""

    @property
    def play(self) -> Record:
        """The function that plays one variation and returns its shortest solved episodes."""
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
    """One world as training sees it. It has no state."""

    world: ClassVar[World]
    path_sources: ClassVar[tuple[PathSource, ...]]
    """The sources of paths that this world has; the first is the default."""
    data: ClassVar[Path]
    """The default table of trajectories."""
    annotations: ClassVar[Path]
    """The default table of their sub-goals."""
    runs: ClassVar[Path]
    """The default folder for training runs."""
    checkpoints: ClassVar[Path]
    """The folder of its shipped checkpoints, with one folder for each role."""
    recipe: ClassVar[Path]
    """The default recipe."""
    renamable: ClassVar[tuple[str, ...]] = ()
    """The prompt formats whose examples `augmentation` can change."""
    drillable: ClassVar[tuple[str, ...]] = ()
    """The prompt formats in which it can write drills."""
    refusal: ClassVar[str] = ""
    """The environment's answer to an unknown action. Empty: failed attempts cannot be added to histories."""

    @property
    def name(self) -> str:
        """The name that `--world` takes."""
        return self.world.name

    @abstractmethod
    def recording(self, request: RecordingRequest) -> Recording:
        """The recording for a request. Raises InvalidInput for options that this world does not have."""

    def path_source(self, request: RecordingRequest) -> PathSource:
        """The source of a request's paths. Raises InvalidInput (field `paths`) for a source that this world lacks."""
        source = request.paths or self.path_sources[0]
        if source not in self.path_sources:
            known = ", ".join(self.path_sources)
            raise self._lacks(f"no paths from the source {source!r}", f"Use one of {known}.", "paths")
        return source

    def shipped_checkpoints(self) -> list[Path]:
        """The folders of the shipped checkpoints whose prompt format belongs to this world."""
        formats = {form.name for form in self.world.formats}
        cards = sorted(self.checkpoints.rglob("card.json"))
        return [card.parent for card in cards if read_json(card, "a checkpoint's card").get("prompt_format") in formats]

    @abstractmethod
    def table(self, paths: PathSource | None) -> Path:
        """The default table of trajectories for a source of paths."""

    @abstractmethod
    def default_format(self, role: Role, *, as_published: bool) -> str:
        """The prompt format of a role's dataset, if the command names none."""

    def augmentation(
        self,
        corpus: Sequence[Example],  # noqa: ARG002
        *,
        share: float,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> Augmentation | None:
        """The data augmentation for these examples; None if this world has none. `share`, 0 to 1, is the share of
        decisions in which things are renamed."""
        return None

    def is_answer(self, example: Example) -> bool:  # noqa: ARG002
        """Whether a decision is the final answer of its task. Final answers are drawn more often (`Recipe.answers`)."""
        return False

    def is_out_of_sight(self, subgoal: str, state: AgentState) -> bool:  # noqa: ARG002
        """Whether a sub-goal names a thing that is neither in sight nor carried."""
        return False

    def published_variations(self, task: TaskType, seed: int = PUBLISHED_SEED) -> list[int]:  # noqa: ARG002
        """The variations of a task, of all splits, in the published data. Raises InvalidInput if there are none."""
        raise self._lacks("no published sampling", "Use --sampling all.", "sampling")

    def require_published(self, prompt_format: PromptFormat) -> None:  # noqa: ARG002
        """Raise InvalidInput if no data were published in this prompt format."""
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
        """The published examples of a role. `flat_ends` keeps ended sub-goals as steps of the flat model. Raises
        InvalidInput if nothing was published."""
        self.require_published(prompt_format)
        return []

    def corrections(self) -> Corrections:
        """The corrections of this world. Raises InvalidInput if it has none."""
        raise self._lacks("no scripted expert, which corrections need", "Record more paths instead.", "world")

    def self_play(self) -> SelfPlay:
        """The self-play of this world. Raises InvalidInput if it has none."""
        raise self._lacks("no self-play", "Record more paths instead.", "world")

    def audit_rules(self) -> Callable[[Iterable[Trajectory], Mapping[PathKey, Annotation]], Any]:
        """The function that counts the oracle's sub-goals which rules of play would refuse. Raises InvalidInput for a
        world without rules."""
        raise self._lacks("no rules of play", "There is nothing to audit.", "world")

    def check_fold(self, fold: int) -> None:  # noqa: ARG002
        """Raise InvalidInput (field `leave_out`) if this world does not have the fold."""
        raise self._lacks("no folds of things", "Leave out --leave-out.", "leave_out")

    def left_out(self, trajectories: Sequence[Trajectory], fold: int) -> Callable[[Trajectory], bool]:  # noqa: ARG002
        """The function that says whether a path's task asks for a thing of the fold. Raises InvalidInput."""
        self.check_fold(fold)
        return lambda _: False

    def held_out(
        self,
        trajectories: Sequence[Trajectory],  # noqa: ARG002
        fold: int,
        most: int,  # noqa: ARG002
    ) -> dict[str, dict[str, list[int]]]:
        """The variations that test an agent which was trained without a fold: task id to thing to variations, at most
        `most` of each task type. Raises InvalidInput."""
        self.check_fold(fold)
        return {}

    def fold_table(self, trajectories: Sequence[Trajectory]) -> str:  # noqa: ARG002
        """The things of each fold as a Markdown table. Raises InvalidInput."""
        self.check_fold(0)
        return ""

    @property
    def subgoals_file(self) -> Path:
        """The shipped file of training sub-goals, from which agents with random sub-goals draw. Raises InvalidInput."""
        raise self._lacks("no list of sub-goals in the package", "Name a file: --output FILE.", "output")

    def annotation_prompts(self) -> AnnotationPrompts:
        """The prompts for a large model that annotates paths. Raises InvalidInput if this world has none."""
        raise self._lacks("no prompts for a large model", "Annotate by rule: --annotator rule.", "annotator")

    def _lacks(self, lacking: str, remedy: str, name: str) -> InvalidInput:
        return InvalidInput(f"{self.world.title} has {lacking}.", remedy=remedy, field=name)
