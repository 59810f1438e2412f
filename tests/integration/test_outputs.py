"""Outputs that lack characters, or are gone, never crash a command, and never change its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.commands import SCRIPTED
from tests.samples import evaluation, result_of
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import RunFolder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of all tasks. Names of its folder and environment have letters that few encodings have."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "é→✓")
    header = evaluation("run")
    versions = header.versions.model_copy(update={"environment": f"{header.versions.environment} é→✓"})
    header = header.model_copy(update={"versions": versions})
    folder.begin(header)
    for spec in episodes(header.id, header.request):
        folder.append(result_of(spec))
    return folder.path


def waymark(
    *arguments: str, after: str = "", folder: Path | None = None, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """`waymark` in a shell, with something after it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WAYMARK_", "PYTHON", "LC_"))}
    kept.pop("LANG", None)
    kept |= {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "WAYMARK_COMMAND": "waymark", **(settings or {})}
    line = f'set -o pipefail; "$@" {after}'
    words = ["bash", "-c", line, "bash", sys.executable, "-m", "waymark", *arguments]
    return subprocess.run(words, env=kept, cwd=folder, capture_output=True, timeout=200, check=False)


ENCODINGS = [
    {"PYTHONIOENCODING": "iso-8859-1"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "koi8-r"},
    {"PYTHONIOENCODING": "utf-8"},
    {"PYTHONIOENCODING": "utf-16"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX"},
    {"LC_ALL": "xx_YY.nonsense"},
]


@pytest.mark.parametrize("settings", ENCODINGS, ids=str)
def test_a_report_is_printed_in_any_encoding(run: Path, settings: dict[str, str]) -> None:
    done = waymark("report", str(run), settings=settings)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    encoding = settings.get("PYTHONIOENCODING", "utf-8")
    text = done.stdout.decode(encoding, errors="replace")
    assert "mendelian" in text
    assert "Score 50.0 of 100" in text
    if encoding == "ascii":
        done.stdout.decode("ascii")


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8"])
def test_a_document_keeps_its_characters_in_any_encoding(run: Path, encoding: str) -> None:
    done = waymark("report", str(run), "--json", settings={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0
    assert json.loads(done.stdout.decode(encoding))["versions"]["environment"].endswith(" é→✓")


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii"])
def test_an_evaluation_is_played_and_shown_in_an_old_encoding(tmp_path: Path, encoding: str) -> None:
    done = waymark(
        "evaluate", *SCRIPTED, "--tasks", "4-2,1-1", folder=tmp_path, settings={"PYTHONIOENCODING": encoding}
    )
    assert done.returncode == 0, done.stderr
    assert b"Score" in done.stdout


@pytest.mark.parametrize(
    "after",
    ["| head -1", "| head -c 10", "| true", ">&-", ">/dev/null 2>&-", ">&- 2>&-", "2>&1 | head -1"],
)
def test_a_reader_that_goes_early_is_no_error(run: Path, after: str) -> None:
    done = waymark("report", str(run), after=after)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""


def test_a_reader_that_stops_early_is_no_error(run: Path) -> None:
    done = waymark("report", str(run), "--json", after="| head -1")
    assert done.returncode == 0
    assert done.stderr == b""


def test_an_evaluation_with_closed_output_ends_as_usual(tmp_path: Path) -> None:
    done = waymark("evaluate", *SCRIPTED, "--tasks", "4-2", after=">&- 2>&-", folder=tmp_path)
    assert done.returncode == 0
    assert len(list((tmp_path / "runs").glob("*/episodes.jsonl"))) == 1


def test_a_full_output_is_one_line(run: Path) -> None:
    done = waymark("report", str(run), after=">/dev/full")
    assert b"Traceback" not in done.stderr
    assert done.returncode != 0


@pytest.mark.parametrize("command", ["--help", "evaluate --help", "loadtest --help"])
def test_help_is_printed_in_ascii(command: str) -> None:
    done = waymark(*command.split(), settings={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    done.stdout.decode("ascii")


def test_an_error_that_quotes_a_strange_name_is_one_line(tmp_path: Path) -> None:
    name = os.fsdecode(b"runs/\xff\xfe\n\x1b[31m")
    done = waymark("report", name, folder=tmp_path, settings={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert b"\x1b" not in done.stderr
