"""TextWorldExpress through the whole stack, and through every stage of training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Command
from training.cli import app
from waymark.inference.checkpoint import load
from waymark.worlds.registry import get_world

WORLD = get_world("textworld-express")
RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "textworld-express.json"
TINY = ("width=16", "feedforward=16", "heads=2", "encoder_layers=1", "decoder_layers=1", "vocabulary=300", "batch=4")


def test_oracle_actions_reach_the_full_score_in_every_game(waymark: Callable[..., Command]) -> None:
    seed = str(WORLD.tasks[0].split("dev")[0])
    played = ("--world", WORLD.name, "--agent", "oracle_actions", "--engine", "scripted", "--variations", seed)
    code, out, err = waymark("evaluate", *played, "--slots", "1", "--json").wait()
    assert code == 0, err
    document = json.loads(out)
    assert {episode["task"]: episode["score"] for episode in document["episodes"]} == {
        task.id: 100 for task in WORLD.tasks
    }
    assert all(episode["model_calls"] == 0 for episode in document["episodes"])


def test_an_agent_without_subgoals_in_its_world_is_refused(waymark: Callable[..., Command]) -> None:
    command = waymark("evaluate", "--world", WORLD.name, "--agent", "flat,random", "--engine", "scripted")
    code, out, err = command.wait()
    assert (code, out) == (2, "")
    assert "'random'" in err
    assert not (command.folder / "runs").exists()


def test_every_stage_of_training_takes_the_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = ("--world", WORLD.name)
    few = ("--tasks", "simonsays", "--limit", "3", "--processes", "1")
    run("trajectories", *world, *few)
    run("annotate", *world)
    changes = [word for change in (*TINY, "steps=2", "evaluate_every=2", "evaluated=8") for word in ("--set", change)]
    run("datasets", "controller", *world, "--recipe", str(RECIPE))
    run("finetune", "executor", *world, "--recipe", str(RECIPE), *changes)
    run("export", "executor", *world)
    card = load(tmp_path / "checkpoints" / "textworld_express" / "executor", "executor").card
    assert card.prompt_format == "textworld-plain"
    assert f"--world {WORLD.name}" in card.training.command
    assert (tmp_path / "build/datasets/controller-textworld-plain/train.parquet").exists()


def run(*arguments: str) -> None:
    app(list(arguments), standalone_mode=False)
