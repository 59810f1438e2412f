"""The metrics of a run: rows of JSON in metrics.jsonl, the same in TensorBoard, and in W&B on request."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from training.recipe import Recipe
from training.run_state import writing
from waymark.errors import InvalidInput


class Metrics:
    """The metrics of one run in its folder. When a run resumes, rows after the resumed step are removed."""

    def __init__(self, folder: Path, recipe: Recipe, *, step: int, wandb: str = "") -> None:
        self._path = folder / "metrics.jsonl"
        self._wandb = _open_wandb(wandb, folder, recipe) if wandb else None
        if self._path.exists():
            kept = [line for line in self._path.read_text().splitlines() if _step(line) <= step]
            partial = self._path.with_suffix(".partial")
            partial.write_text("".join(line + "\n" for line in kept))
            os.replace(partial, self._path)
        self._board_folder = folder / "tensorboard"
        with writing(self._board_folder):
            self._board: Any = SummaryWriter(str(self._board_folder), purge_step=step + 1)

    def log(self, step: int, **values: float) -> dict[str, float]:
        """Record values at a step; returns the row."""
        row = {"step": step, "time": time.time(), **values}
        with writing(self._path), self._path.open("a") as out:
            out.write(json.dumps(row) + "\n")
        with writing(self._board_folder):
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(values, step=step)
        return row

    def close(self) -> None:
        """Write what is buffered."""
        with writing(self._board_folder):
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def require_wandb() -> Any:
    """The wandb package. Raises InvalidInput that says how to get it."""
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "--wandb needs the package wandb, which is not installed.",
            remedy="Install it (pip install wandb), or leave the option out: TensorBoard has the same metrics.",
            field="wandb",
        ) from error
    return wandb


def _open_wandb(project: str, folder: Path, recipe: Recipe) -> Any:
    return require_wandb().init(project=project, name=folder.name, dir=str(folder), config=asdict(recipe))


def _step(line: str) -> float:
    """The step of a row; infinite for one that was cut off while it was written."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return float("inf")
