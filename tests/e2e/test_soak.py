"""The soaks of `benchmarks.soak` at full length: their targets of counts and times hold. Only with `--soak`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SECONDS = 1_800
"""More than either takes on two slow cores."""


@pytest.mark.parametrize("command", [("answers", "--requests", "30000"), ("overload",)], ids=lambda words: words[0])
def test_a_soak_holds_its_targets(command: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--soak"):
        pytest.skip("needs --soak")
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
