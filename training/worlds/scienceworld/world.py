"""ScienceWorld as training sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.annotations import Annotation
from training.datasets import Example
from training.trajectories import PathKey, Trajectory
from training.worlds.base import (
    PUBLISHED_SEED,
    Augmentation,
    Corrections,
    PathSource,
    RecordingRequest,
    SelfPlay,
    TrainingWorld,
)
from training.worlds.scienceworld import folds, gold_paths, published_examples
from training.worlds.scienceworld.augmentation import Renamer, is_answer
from training.worlds.scienceworld.recording import Recording
from waymark.contracts import AgentState, Role
from waymark.worlds.base import PromptFormat, TaskType
from waymark.worlds.registry import get_world
from waymark.worlds.scienceworld.subgoals_in_sight import in_sight

if TYPE_CHECKING:
    from training.llm.prompts import AnnotationPrompts

_TAKES, _MISPLACED = 70, 60
_GOLD = Path("build/gold/trajectories.parquet")


class ScienceWorldTraining(TrainingWorld):
    """Implements `TrainingWorld`."""

    world = get_world("scienceworld")
    path_sources = ("expert", "gold")
    data = Path("data/trajectories.parquet")
    annotations = Path("data/annotations.parquet")
    runs = Path("build/runs")
    checkpoints = Path("checkpoints")
    recipe = Path("training/recipes/small.json")
    drillable = ("compact", "compact-nohistory", "compact-plain", "compact-plain-nohistory", "compact-reasons")
    renamable = (*drillable, "transcript")
    refusal = "No known action matches that input."

    def recording(self, request: RecordingRequest) -> Recording:
        """Expert paths with takes, or gold paths."""
        paths = self.path_source(request)
        return Recording(
            paths,
            request.sampling,
            request.limit,
            dict(request.limits),
            _TAKES if request.takes is None else request.takes,
            _MISPLACED if request.misplaced is None else request.misplaced,
            self.world.default_options if request.options is None else request.options,
        )

    def table(self, paths: PathSource | None) -> Path:
        """Gold paths have a table of their own."""
        return _GOLD if paths == "gold" else self.data

    def default_format(self, role: Role, *, as_published: bool) -> str:
        """`compact`, or the published one of the role."""
        if not as_published:
            return "compact"
        return "seed-imported" if role == "controller" else "seed"

    def augmentation(self, corpus: Sequence[Example], *, share: float, seed: int) -> Augmentation:
        """See `augmentation`."""
        return Renamer(corpus, share=share, seed=seed)

    def is_answer(self, example: Example) -> bool:
        """See `augmentation.is_answer`."""
        return is_answer(example)

    def is_out_of_sight(self, subgoal: str, state: AgentState) -> bool:
        """See `waymark.worlds.scienceworld.subgoals_in_sight.in_sight`."""
        return not in_sight([subgoal], state)

    def published_variations(self, task: TaskType, seed: int = PUBLISHED_SEED) -> list[int]:
        """See `gold_paths.published_variations`."""
        return gold_paths.published_variations(task, seed)

    def require_published(self, prompt_format: PromptFormat) -> None:
        """The formats `seed` were published."""
        published_examples.require_published(prompt_format)

    def published_examples(
        self,
        trajectories: Iterable[Trajectory],
        annotations: Mapping[PathKey, Annotation],
        role: Role,
        prompt_format: PromptFormat,
        *,
        flat_ends: bool,
    ) -> list[Example]:
        """See `published_examples.examples`."""
        return published_examples.examples(trajectories, annotations, role, prompt_format, flat_ends=flat_ends)

    def corrections(self) -> Corrections:
        """See `dagger`."""
        from training.worlds.scienceworld import dagger

        return dagger

    def self_play(self) -> SelfPlay:
        """See `self_play`."""
        from training.worlds.scienceworld import self_play

        return self_play

    def audit_rules(self) -> Callable[[Iterable[Trajectory], Mapping[PathKey, Annotation]], Any]:
        """See `rule_audit.replay`."""
        from training.worlds.scienceworld.rule_audit import replay

        return replay

    @property
    def subgoals_file(self) -> Path:
        """Read by `waymark.worlds.scienceworld.random_subgoals`."""
        return Path("waymark/worlds/scienceworld/training_subgoals.txt")

    def check_fold(self, fold: int) -> None:
        """See `folds`."""
        folds.check_fold(fold)

    def left_out(self, trajectories: Sequence[Trajectory], fold: int) -> Callable[[Trajectory], bool]:
        """See `folds.left_out`."""
        return folds.left_out(trajectories, fold)

    def held_out(self, trajectories: Sequence[Trajectory], fold: int, most: int) -> dict[str, dict[str, list[int]]]:
        """See `folds.held_out`."""
        return folds.held_out(trajectories, fold, most)

    def fold_table(self, trajectories: Sequence[Trajectory]) -> str:
        """See `folds.table`."""
        return folds.table(trajectories)

    def annotation_prompts(self) -> AnnotationPrompts:
        """See `annotation_prompts`."""
        from training.worlds.scienceworld.annotation_prompts import PROMPTS

        return PROMPTS


WORLD = ScienceWorldTraining()
