"""One role's examples of the train and dev variations, read from the tables that training keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training import datasets, published
from training.annotate import Annotation, read_annotations
from training.datasets import ControllerExamples, Example, Sampling, check_splits, missing, sample
from training.gold import PUBLISHED_SEED
from training.trajectories import PathKey, Trajectory, read_table
from waymark.contracts import Role
from waymark.prompts import get_format
from waymark.tasks import Split


@dataclass(frozen=True)
class Wording:
    """How one role's examples are written: as serving sends them, or as published."""

    role: Role
    prompt_format: str
    as_published: bool = False
    controller: ControllerExamples = "on-end"
    flat_ends: bool = False

    def examples(self, trajectories: Sequence[Trajectory], annotations: dict[PathKey, Annotation]) -> list[Example]:
        """The role's dataset of these paths. Raises InvalidInput for a format that was not published."""
        prompt_format = get_format(self.prompt_format)
        if self.as_published:
            return published.examples(trajectories, annotations, self.role, prompt_format, flat_ends=self.flat_ends)
        return datasets.examples(trajectories, annotations, self.role, prompt_format, self.controller)

    @property
    def options(self) -> str:
        """The command-line options that are not the default, each after a space."""
        return (
            (" --as-published" if self.as_published else "")
            + (f" --controller {self.controller}" if self.controller != "on-end" else "")
            + (" --flat-ends" if self.flat_ends else "")
        )


def read_corpora(
    wording: Wording,
    data: Path,
    annotations: Path,
    sampling: Sampling,
    seed: int = PUBLISHED_SEED,
    note: Callable[[str], object] = print,
) -> dict[Split, list[Example]]:
    """The examples of each split; the tables are read once. `note` is told what published sampling lacks.

    Raises InvalidInput for a leak.
    """
    recorded = read_table(data)
    if sampling == "published" and (lacking := missing(recorded)):
        note(
            f"{data} lacks {sum(lacking.values())} of the published train variations, of {len(lacking)} tasks. "
            "To record them: python -m training trajectories --sampling published"
        )
    every, named = sample(recorded, sampling, seed), read_annotations(annotations)
    splits: tuple[Split, ...] = ("train", "dev")
    corpora = {split: wording.examples([one for one in every if one.split == split], named) for split in splits}
    check_splits(corpora)
    return corpora
