"""Fine-tuning runs small enough for tests: recipes, and the command as a process on a few recorded paths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from tests.oracle import rule_annotations, trajectories, write_paths
from training.annotations import write_annotations
from training.recipe import Recipe

ROOT = Path(__file__).parents[1]
_SECONDS = 600
TINY_SHAPE: Final[Mapping[str, Any]] = {
    "vocabulary": 300, "width": 16, "feedforward": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1,
}  # fmt: skip
"""Fields of a recipe whose model is trained in a moment."""
TINY = Recipe(
    **TINY_SHAPE,
    steps=4,
    batch=4,
    learning_rate=5e-3,
    warmup=2,
    dropout=0.1,
    max_input_tokens=48,
    max_new_tokens=12,
    evaluate_every=2,
    evaluated=20,
)
COURSE = replace(TINY, hard=1.0, hard_from=4, hard_until=16, steps=24, evaluate_every=8, accumulate=2, dropout=0.0)


class Training:
    """`finetune` as a process, on a few recorded paths and a recipe of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed: dict[str, str] = {}
        """Run to what its command has printed."""
        train, dev = ([path for path in trajectories() if path.split == split][:4] for split in ("train", "dev"))
        self.data = write_paths([*train, *dev], folder, "data")
        write_annotations(rule_annotations([*train, *dev]).values(), folder / "annotations.parquet")

    def arguments(self, run: str, recipe: Recipe) -> list[str]:
        """Those of `python -m training`."""
        path = self.folder / "recipe.json"
        path.write_text(json.dumps(asdict(recipe)))
        named = {"run": run, "recipe": path, "data": self.data, "annotations": self.folder / "annotations.parquet"}
        return ["finetune", "executor", "--allow-truncation", *(f"--{name}={value}" for name, value in named.items())]

    def start(self, run: str, recipe: Recipe, *options: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """`finetune executor` into the folder `run`."""
        return subprocess.Popen(
            [sys.executable, "-m", *launcher, "training", *self.arguments(run, recipe), *options],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, run: str, recipe: Recipe, launcher: tuple[str, ...] = ()) -> list[dict[str, float]]:
        """The dev scores of a whole run."""
        process = self.start(run, recipe, launcher=launcher)
        try:
            self.printed[run], _ = process.communicate(timeout=_SECONDS)
        finally:
            with suppress(ProcessLookupError):  # a launcher's own processes would outlive it
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, self.printed[run]
        rows = [json.loads(line) for line in (self.folder / run / "metrics.jsonl").read_text().splitlines()]
        return [{name: row[name] for name in ("step", "dev_loss")} for row in rows if "dev_loss" in row]
