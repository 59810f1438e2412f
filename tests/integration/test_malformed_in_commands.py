"""Malformed checkpoints where people meet them: a service's start, `training convert` and `training score`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkpoints import fit_hashes, make_folder
from waymark.inference.checkpoint import CARD

ROOT = Path(__file__).parents[2]


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)
        fit_hashes(folder)

    return damage


def fifo(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "config": write("config.json", b"[]"),
    "tokenizer": write("tokenizer.json", b'{"version"'),
    "header": write("model.safetensors", (2**40).to_bytes(8, "little") + b"{}"),
    "card fifo": fifo(CARD),
    "config fifo": fifo("config.json"),
    "converted": write("ctranslate2/config.json", b"[]"),
}


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
    command = [sys.executable, "-m", *arguments]
    environment = {**kept, "PYTHONPATH": str(ROOT), **settings}
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_service_ends_with_one_line(tmp_path: Path, damage: str) -> None:
    folder = make_folder(tmp_path / "c")
    DAMAGES[damage](folder)
    done = run("services.executor", WAYMARK_CHECKPOINTS=f"default={folder}", WAYMARK_PORT="0")
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("executor: ")


@pytest.mark.parametrize("damage", ["config", "tokenizer", "header", "config fifo"])
@pytest.mark.parametrize("card", [True, False], ids=["with card", "without card"])
def test_a_conversion_ends_with_one_line(tmp_path: Path, damage: str, card: bool) -> None:
    folder = make_folder(tmp_path / "c")
    DAMAGES[damage](folder)
    if not card:
        (folder / CARD).unlink()
    options = () if card else ("--role", "executor", "--format", "compact")
    done = run("training", "convert", str(folder), str(tmp_path / "out"), *options)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["config", "card fifo"])
def test_a_score_ends_with_one_line(tmp_path: Path, damage: str) -> None:
    folder = make_folder(tmp_path / "c")
    DAMAGES[damage](folder)
    done = run("training", "score", str(folder))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
