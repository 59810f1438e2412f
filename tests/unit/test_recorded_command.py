"""The command that a run records makes it again: every option as it was given, and none besides."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer

from training.cli import app
from training.commands.finetune import command_of


def recorded(*arguments: str) -> str:
    group = typer.main.get_command(app)
    command = group.get_command(typer.Context(group), "finetune")  # type: ignore[attr-defined]
    context = command.make_context("finetune", list(arguments))
    return command_of(context, "compact", context.params["recipe"] or Path("small.json"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("executor",),
        ("executor", "--set", "steps=4", "--set", "dropout=0.1"),
        ("controller", "--run", "a folder", "--data", "x'y.parquet", "--allow-truncation", "--seed", "3"),
    ],
)
def test_the_recorded_command_is_the_one_that_was_given(arguments: tuple[str, ...]) -> None:
    command = recorded(*arguments)
    assert "()" not in command
    assert "(" not in command
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "training", "finetune"]
    assert set(arguments) <= set(words)
    assert recorded(*words[4:]) == command
