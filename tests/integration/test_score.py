"""The commands `datasets` and `score` for real, on a few dev paths and with what ships."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.oracle import rule_annotations, trajectories, write_paths
from training.annotations import write_annotations
from training.datasets import examples
from training.offline_score import opened, score
from training.trajectories import Trajectory
from waymark.inference.checkpoint import load
from waymark.worlds.registry import get_format

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "checkpoints"
TASKS = ("2-1", "4-2", "7-1")
DEV = [trajectory for trajectory in trajectories() if trajectory.split == "dev" and trajectory.task_id in TASKS]
TRAIN = [
    next(trajectory for trajectory in trajectories() if trajectory.split == "train" and trajectory.task_id == task)
    for task in TASKS
]


def tables(folder: Path, chosen: Sequence[Trajectory]) -> list[str]:
    """Some trajectories and their annotations on disk, as options of a command."""
    data = write_paths(chosen, folder)
    write_annotations(rule_annotations(chosen).values(), folder / "annotations.parquet")
    return ["--data", str(data), "--annotations", str(folder / "annotations.parquet")]


def training(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def unheard(title: str, done: int, total: int) -> None:
    """Nobody watches."""


def test_shipped_checkpoints_are_scored_with_given_and_with_predicted_subgoals(tmp_path: Path) -> None:
    done = training("score", "checkpoints/executor", "checkpoints/controller", "--json", *tables(tmp_path, DEV))
    assert done.returncode == 0, done.stderr
    controller, oracle, predicted = json.loads(done.stdout)["scores"]
    assert [scored["subgoals"] for scored in (controller, oracle, predicted)] == [None, "oracle", "predicted"]
    assert predicted["controller"] == "checkpoints/controller"
    for scored in (controller, oracle, predicted):
        assert scored["engine"] == "ctranslate2"
        assert set(scored["matches"]["tasks"]) == set(TASKS)
        assert 0.1 < scored["matches"]["overall"]["exact_match"] <= 1  # one that is not read right has 0
    card = load(SHIPPED / "executor").card
    corpus = examples(DEV, rule_annotations(DEV), "executor", get_format(card.prompt_format))
    assert oracle["matches"]["overall"]["decisions"] == len(corpus)
    assert oracle["card"] == card.training.dev


def test_a_run_is_scored_as_its_exported_checkpoint(tmp_path: Path) -> None:
    shipped = load(SHIPPED / "flat")
    run = tmp_path / "flat-again"
    (run / "best").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copyfile(shipped.folder / name, run / "best" / name)
    (run / "recipe.json").write_text(json.dumps(shipped.card.training.recipe))
    row = {"step": 1, "dev_loss": 1.0, "dev_exact_match": 0.5}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    with opened([shipped.folder, run], "ctranslate2", prompt_format=shipped.card.prompt_format) as contestants:
        checkpoint, again = score(contestants, DEV, rule_annotations(DEV), unheard)
    assert again.matches == checkpoint.matches
    assert again.card["exact_match"] == 0.5


@pytest.mark.parametrize("history", [True, False])
def test_a_dataset_is_written_with_its_statistics(tmp_path: Path, history: bool) -> None:
    options = ["--history" if history else "--no-history", "--output", str(tmp_path / "made")]
    done = training("datasets", "controller", *options, *tables(tmp_path, [*TRAIN, *DEV]))
    assert done.returncode == 0, done.stderr
    name = "compact" if history else "compact-nohistory"
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text())
    assert manifest["prompt_format"] == name
    corpus = examples(DEV, rule_annotations(DEV), "controller", get_format(name))
    written = pq.read_table(tmp_path / "made" / "dev.parquet").to_pylist()
    assert [row["prompt"] for row in written] == [example.prompt for example in corpus]
    assert manifest["splits"]["dev"]["examples"] == len(corpus)
    assert manifest["splits"]["train"]["verbs"]["complete_task"] == len(TRAIN)


def test_a_dataset_that_leaks_is_not_written(tmp_path: Path) -> None:
    leak = replace(DEV[0], split="train")
    options = tables(tmp_path, [*TRAIN, *DEV[1:], leak])
    done = training("datasets", "flat", "--output", str(tmp_path / "made"), *options)
    assert done.returncode == 2
    message = " ".join(done.stderr.split())
    assert (
        f"Variation {leak.variation} of task {leak.task_id} is for dev, but it is among the train examples" in message
    )
    assert "python -m training trajectories" in message
    assert not (tmp_path / "made").exists()
