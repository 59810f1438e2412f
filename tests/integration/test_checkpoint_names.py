"""Folders of checkpoints with any name are played from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Command
from waymark.cli.local_stack import CHECKPOINTS
from waymark.errors import InvalidInput
from waymark.serving.settings import read_settings

Waymark = Callable[..., Command]
NAMES = ["a, b/c", "default=x;y", "quo'te\"s`$(x)", "é ✓", "-x", "{", "back\\slash", "line\nbreak", " blank "]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_is_read_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / name
    monkeypatch.setenv("WAYMARK_CHECKPOINTS", json.dumps({"default": str(folder)}))
    assert read_settings().checkpoints == {"default": folder}


@pytest.mark.parametrize("value", ["{", "{}", "[1]{", '{"default": 1}', '{"default": ""}', "{" * 100_000])
def test_a_value_that_is_no_object_is_quoted(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_CHECKPOINTS", value)
    with pytest.raises(InvalidInput, match="WAYMARK_CHECKPOINTS"):
        read_settings()


def test_pairs_of_names_and_folders_are_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_CHECKPOINTS", "default=a, flat=b/c")
    assert read_settings().checkpoints == {"default": Path("a"), "flat": Path("b/c")}


@pytest.mark.parametrize("name", ["a, b/c", "-x=y; 'é ✓'"])
def test_an_evaluation_plays_from_a_folder_of_any_name(waymark: Waymark, tmp_path: Path, name: str) -> None:
    for role in ("controller", "executor"):
        shutil.copytree(CHECKPOINTS / role, tmp_path / name / role)
    arguments = ("--environment", "scripted", "--tasks", "4-2", "--json", "--checkpoints", name)
    code, out, err = waymark("evaluate", *arguments).wait()
    assert code == 0, err
    assert json.loads(out)["versions"]["executor"]["engine"] == "ctranslate2"
