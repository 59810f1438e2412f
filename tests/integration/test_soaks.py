"""The long runs of `benchmarks.soak`, short: counts must hold here too, times need a machine to themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak.answers import Answers
from benchmarks.soak.disconnects import Disconnects
from benchmarks.soak.overload import Overload

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it watches /proc")


def soak(report: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one to its end."""
    command = [sys.executable, "-m", "benchmarks.soak", *arguments, "--json", str(report)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def test_thousands_of_requests_through_refusals_are_answered_once_each(tmp_path: Path) -> None:
    ended = soak(tmp_path / "report", "answers", "--requests", "2000")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = Answers.model_validate_json((tmp_path / "report").read_bytes())
    assert report.answered == report.service_answered == report.requests == 2_000
    assert report.refused > 0


def test_callers_stay_connected_while_a_service_stalls_or_stops(tmp_path: Path) -> None:
    ended = soak(tmp_path / "report", "disconnects", "--seconds", "5", "--callers", "50")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = Disconnects.model_validate_json((tmp_path / "report").read_bytes())
    assert report.disconnected == 0
    assert report.halts > 0
    assert report.answers["200"] > 0


def test_under_overload_the_shipped_executor_answers_or_refuses(tmp_path: Path) -> None:
    ended = soak(tmp_path / "report", "overload", "--minutes", "0.05", "--peak-seconds", "2")
    assert ended.returncode in (0, 1), ended.stderr  # 1: it was late, or others took the cores meanwhile
    report = Overload.model_validate_json((tmp_path / "report").read_bytes())
    assert set(report.refused) <= {"429"}
    assert report.answered > 0
    assert report.errors == {}
    assert ("holds." in ended.stdout) == report.holds == (ended.returncode == 0)
