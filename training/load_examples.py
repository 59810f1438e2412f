"""One role's examples of the train and dev variations, read from the tables that training keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from training import datasets
from training.annotations import Annotation, annotated, describe_coverage, read_annotations
from training.datasets import ControllerExamples, Example, check_splits, missing, sample, write_example
from training.failed_attempts import decisions_after_failures
from training.trajectories import PathKey, Trajectory, read_table
from training.worlds.base import PUBLISHED_SEED, Sampling
from training.worlds.registry import training_world, training_world_of
from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.worlds.base import Split, World
from waymark.worlds.registry import DEFAULT_WORLD, get_format


@dataclass(frozen=True)
class Wording:
    """How one role's examples are written: like the prompts of serving, or as published.

    Raises InvalidInput for a format that was not published.
    """

    role: Role
    prompt_format: str
    as_published: bool = False
    controller: ControllerExamples = "on-end"
    flat_ends: bool = False
    world: str = DEFAULT_WORLD
    failed_attempts: float = 0.0
    """Share of the decisions that are learnt once more after a failed attempt (`training.failed_attempts`)."""

    def __post_init__(self) -> None:
        trained = training_world(self.world)
        if self.as_published:
            trained.require_published(get_format(self.prompt_format))
        if self.failed_attempts and (self.as_published or not trained.refusal):
            raise InvalidInput(
                "Published data hold no failed attempts."
                if self.as_published
                else f"{trained.world.title} does not say what it answers to an unknown action.",
                remedy="Leave out --failed-attempts.",
                field="failed_attempts",
            )

    def examples(self, trajectories: Iterable[Trajectory], annotations: dict[PathKey, Annotation]) -> list[Example]:
        """The role's dataset of these paths."""
        prompt_format = get_format(self.prompt_format)
        if self.as_published:
            return training_world(self.world).published_examples(
                trajectories, annotations, self.role, prompt_format, flat_ends=self.flat_ends
            )
        return datasets.examples(trajectories, annotations, self.role, prompt_format, self.controller)

    def examples_after_failures(
        self, trajectories: Iterable[Trajectory], annotations: dict[PathKey, Annotation]
    ) -> list[Example]:
        """Decisions on these paths once more, after a failed attempt; for training, never for dev."""
        if not self.failed_attempts:
            return []
        prompt_format = get_format(self.prompt_format)
        decided = decisions_after_failures(
            trajectories, annotations, self.role, self.failed_attempts, training_world(self.world)
        )
        return [write_example(path, decision, self.role, prompt_format) for path, decision in decided]

    @property
    def options(self) -> str:
        """The command-line options that are not the default, separated by spaces; empty: as in serving."""
        options = ["--as-published"] * self.as_published
        options += [f"--controller {self.controller}"] * (self.controller != "on-end")
        options += ["--flat-ends"] * self.flat_ends
        options += [f"--failed-attempts {self.failed_attempts:g}"] * bool(self.failed_attempts)
        return " ".join(options)


@dataclass(frozen=True)
class Corpora:
    """One role's examples by split, and how many paths are not in them because they have no annotation."""

    examples: dict[Split, list[Example]]
    left_out: int


def read_annotated(
    world: World,
    data: Path,
    annotations: Path,
    *,
    require_all: bool,
    note: Callable[[str], object],
    chosen: Callable[[Sequence[Trajectory]], Sequence[Trajectory]] = lambda paths: paths,
) -> tuple[list[Trajectory], dict[PathKey, Annotation], int]:
    """The chosen trajectories that are annotated, all annotations, and the number of trajectories left out. `note` is
    called with a message about these.

    Raises InvalidInput for files that are missing, damaged, of another world or do not belong together.
    """
    note(f"Reading {data} and {annotations} …")
    trajectories = read_table(data, world)
    named = read_annotations(annotations)
    paths = chosen(trajectories)
    kept = annotated(paths, named, require_all=require_all)
    if coverage := describe_coverage(trajectories, named):
        note(coverage)
    return kept, named, len(paths) - len(kept)


def read_corpora(
    wording: Wording,
    data: Path,
    annotations: Path,
    sampling: Sampling,
    seed: int = PUBLISHED_SEED,
    *,
    require_all: bool,
    note: Callable[[str], object],
    bar: Progress,
    leave_out: int | None = None,
) -> Corpora:
    """The examples of each split; the tables are read once. `note` is called with a message about missing annotations;
    `bar` shows the progress.

    With a fold left out (`TrainingWorld.left_out`), `dev` is the fold itself: the paths of its variations,
    without detours. Raises InvalidInput for files that do not belong together, and for a leak.
    """

    def sampled(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        if sampling == "published" and (lacking := missing(trajectories)):
            note(
                f"{data} lacks {sum(lacking.values())} of the published train variations, of {len(lacking)} tasks. "
                "To record them: python -m training trajectories --sampling published"
            )
        return sample(trajectories, sampling, seed)

    world = training_world(wording.world).world
    paths, named, lacking_names = read_annotated(
        world, data, annotations, require_all=require_all, note=note, chosen=sampled
    )
    chosen = _by_split(paths) if leave_out is None else by_fold(paths, leave_out)
    corpora: dict[Split, list[Example]] = {}
    with bar:
        for split, of_split in chosen.items():
            corpora[split] = wording.examples(bar.track(of_split, description=f"{split} examples"), named)
        corpora["train"] += wording.examples_after_failures(chosen["train"], named)
    check_splits(corpora if leave_out is None else {"train": [*corpora["train"], *corpora["dev"]]})
    return Corpora(corpora, lacking_names)


def _by_split(paths: Sequence[Trajectory]) -> dict[Split, list[Trajectory]]:
    splits: tuple[Split, ...] = ("train", "dev")
    return {split: [path for path in paths if path.split == split] for split in splits}


def by_fold(paths: Sequence[Trajectory], fold: int) -> dict[Split, list[Trajectory]]:
    """The training paths without a fold, and in place of dev the fold's own."""
    is_left_out = training_world_of(path.task_id for path in paths).left_out(paths, fold)
    train = [path for path in paths if path.split == "train"]
    return {
        "train": [path for path in train if not is_left_out(path)],
        "dev": [path for path in train if path.take == 0 and is_left_out(path)],
    }
