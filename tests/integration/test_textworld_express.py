"""TextWorldExpress through the whole stack, and through every stage of training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Command
from training.cli import app
from waymark.inference.checkpoint import load as load_checkpoint
from waymark.worlds.base import EnvironmentLimits
from waymark.worlds.registry import get_world
from waymark.worlds.textworld_express.environment import TextWorldExpressEnvironment
from waymark.worlds.textworld_express.options import PARAMETERS

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


def test_the_simulator_has_the_options_that_are_checked_before_play() -> None:
    """At both ends of each range a game begins. One step over it the simulator refuses the number, or a game of it."""
    environment = TextWorldExpressEnvironment(EnvironmentLimits())
    try:
        for game, parameters in PARAMETERS.items():
            problem = load(environment, game, "noSuchOption=1")
            assert "noSuchOption" in problem
            for name, bounds in parameters.items():
                beside = "maxDistanceApart=1," if game == "mapreader" and name == "numLocations" else ""
                for number in bounds:
                    assert environment.reset(game, 0, f"{beside}{name}={number}").look, (game, name, number)
                assert load(environment, game, f"{name}={bounds[1] + 1}") or (name, bounds) in OWN, (game, name)
    finally:
        environment.close()


OWN = {("numLocations", (2, 48)), *((name, (0, 1)) for game in PARAMETERS.values() for name in game)}
"""Parameters whose upper bound is ours: the simulator takes any number for yes, and has too few names of places."""


def load(environment: TextWorldExpressEnvironment, game: str, options: str) -> str:
    """What the simulator itself says against a game's options."""
    return environment._call(lambda: str(environment._server.load(game, options) or ""))


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
    card = load_checkpoint(tmp_path / "checkpoints" / "textworld_express" / "executor", "executor").card
    assert card.prompt_format == "textworld-plain"
    assert f"--world {WORLD.name}" in card.training.command
    assert (tmp_path / "build/datasets/controller-textworld-plain/train.parquet").exists()


def run(*arguments: str) -> None:
    app(list(arguments), standalone_mode=False)
