"""The published agent as a person runs it: its own checkpoints, `first` among them, behind real services."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from tests.commands import Command
from tests.oracle import one_of_each_task, rule_annotations
from tests.training_runs import TINY_SHAPE
from training.export import export
from training.finetune import Run
from training.load_examples import Wording
from training.recipe import Recipe
from waymark.contracts import Role
from waymark.inference.checkpoint import load

Waymark = Callable[..., Command]
TINY = Recipe(**TINY_SHAPE, steps=1, batch=2, warmup=1, rename=0.0, evaluate_every=1, evaluated=2, max_new_tokens=8)
TWIN: dict[Role, str] = {"controller": "seed-imported"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Controller, first, executor and flat models of the published formats that have hardly learnt anything."""
    folder = tmp_path_factory.mktemp("published")
    paths = [path for path in one_of_each_task() if path.task_id in ("4-2", "7-1", "3-1")]
    named = rule_annotations(paths)
    for role in get_args(Role):
        prompt_format = TWIN.get(role, "seed")
        corpus = Wording(role, prompt_format, as_published=True).examples(paths, named)
        for _ in Run(folder / "runs" / role, TINY, corpus, corpus).train():
            pass
        export(
            folder / "runs" / role,
            folder / role,
            role=role,
            prompt_format=prompt_format,
            command="python -m training finetune",
            data_sha256="0",
        )
    return folder


def played(waymark: Waymark, checkpoints: Path, agent: str) -> Command:
    command = waymark(
        "evaluate",
        *("--environment", "scripted", "--slots", "1", "--protocol", "seed", "--tasks", "4-2", "--variations", "225"),
        *("--checkpoints", str(checkpoints), "--agent", agent, "--json"),
    )
    code, _, err = command.wait()
    assert code == 0, err
    return command


def test_the_published_agent_plays_with_its_first_checkpoint(waymark: Waymark, checkpoints: Path) -> None:
    command = played(waymark, checkpoints, "published")
    [result] = command.run.results()
    assert result.error is None
    versions = result.versions
    assert versions is not None
    assert versions.controller is not None
    assert versions.first is not None
    models = {"controller": versions.controller, "first": versions.first, "executor": versions.executor}
    assert {name: model.sha256 for name, model in models.items()} == {
        name: load(checkpoints / name).sha256 for name in models
    }
    assert versions.controller.prompt_format == "seed-imported"
    assert result.agent is not None
    assert (result.agent.policy, result.agent.beams, result.agent.repair_by) == ("published", 5, "similarity")
    assert all(turn.controller_called for turn in result.trajectory)


def test_the_published_flat_agent_asks_one_model(waymark: Waymark, checkpoints: Path) -> None:
    command = played(waymark, checkpoints, "published_flat")
    [result] = command.run.results()
    assert result.error is None
    assert result.versions is not None
    assert (result.versions.controller, result.versions.first) == (None, None)
    assert result.versions.executor.sha256 == load(checkpoints / "flat").sha256
    assert all(turn.subgoal is None for turn in result.trajectory)
