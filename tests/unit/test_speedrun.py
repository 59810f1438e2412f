"""The stages from nothing to weights: what each trains on, and what stays out. Nothing is trained here."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer.main

from tests.oracle import trajectories
from training.cli import app
from training.recipe import read_recipe
from training.resumable_stages import Stage
from training.speedrun import FIRST, MORE, ROLES, Speedrun, stages
from training.worlds.scienceworld.dagger import plan

FOLDER = Path("build/made")


def option(stage: Stage, name: str) -> str:
    """The value of an option."""
    return stage.arguments[stage.arguments.index(name) + 1]


def trainings(run: Speedrun, leg: str) -> dict[str, Stage]:
    return {stage.arguments[1]: stage for stage in stages(run) if stage.name.startswith(f"{leg} leg")}


def test_the_stages_come_in_order() -> None:
    assert [stage.name for stage in stages(Speedrun(FOLDER))] == [
        "first leg of executor", "export first executor",
        "first leg of controller", "export first controller",
        "first leg of flat", "export first flat",
        "corrections of hierarchical", "sub-goals of hierarchical",
        "corrections of flat", "sub-goals of flat",
        "second leg of executor", "export second executor",
        "second leg of controller", "export second controller",
        "second leg of flat", "export second flat",
    ]  # fmt: skip
    anew = [stage.name for stage in stages(Speedrun(FOLDER, anew=True))]
    assert anew[:2] == ["trajectories", "sub-goals"]


@pytest.mark.parametrize("run", [Speedrun(FOLDER, anew=True, leave_out=1, steps=30), Speedrun(FOLDER, toy=True)])
def test_every_stage_is_a_command_with_options_that_it_knows(run: Speedrun) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for stage in stages(run):
        name, *arguments = stage.arguments
        context = commands[name].make_context(name, arguments)  # refuses unknown options and wrong values
        assert context.params


def test_each_agent_learns_from_its_own_corrections() -> None:
    second = trainings(Speedrun(FOLDER), "second")
    data = {role: option(stage, "--data") for role, stage in second.items()}
    own = {name: str(FOLDER / "data" / f"{name}.parquet") for name in ("hierarchical", "flat")}
    assert data == {"executor": own["hierarchical"], "controller": own["hierarchical"], "flat": own["flat"]}
    for role, stage in second.items():
        assert option(stage, "--base") == str(FOLDER / "runs" / "first" / role / "best")
        assert option(stage, "--annotations") == data[role].replace(".parquet", "-subgoals.parquet")


def test_an_incomplete_agent_is_not_corrected() -> None:
    run = Speedrun(FOLDER, roles=("controller",))
    assert not [stage for stage in stages(run) if stage.name.startswith("corrections")]
    assert option(trainings(run, "second")["controller"], "--data") == "data/trajectories.parquet"


def test_a_fold_is_left_out_of_every_training() -> None:
    for leg in ("first", "second"):
        for stage in trainings(Speedrun(FOLDER, leave_out=2), leg).values():
            assert option(stage, "--leave-out") == "2"


def test_a_smaller_budget_spends_nothing_on_measuring_what_is_hard() -> None:
    first = trainings(Speedrun(FOLDER, steps=90), "first")["flat"].arguments
    assert {"steps=90", "hard=0.0"} <= set(first)
    assert "steps=60" in trainings(Speedrun(FOLDER, steps=90), "second")["flat"].arguments


def test_flat_is_trained_as_the_others_are() -> None:
    for path in (FIRST, MORE):
        recipes = {role: read_recipe(path, role) for role in ROLES}
        for name in ("steps", "batch", "rename", "drills", "hard", "evaluate_every", "patience"):
            assert len({getattr(recipe, name) for recipe in recipes.values()}) == 1, name
    wide = read_recipe(FIRST, "flat")
    assert (wide.width, wide.feedforward) > (read_recipe(FIRST, "executor").width, 512)


def test_a_flat_agent_is_corrected_as_itself() -> None:
    planned = plan(trajectories(), 5, 5, Path("checkpoints"), "flat", without_rules=True)
    assert {(rollouts.agent, rollouts.without_rules) for rollouts in planned} == {("flat", True)}
