"""A reproduction that is ended in the middle of a stage goes on there, whatever ended it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faulty_annotator import FaultyAnnotator
from tests.reproduction import SECONDS, run, start
from training.reproduce.plan import ROLES
from training.user_files import sha256_of

STAGES = (
    "trajectories",
    "annotate",
    *(f"datasets {role}" for role in ROLES),
    *(f"{name} {role}" for role in ROLES for name in ("finetune", "export")),
    "evaluate",
)
INTO = {"trajectories": 2.0, "annotate": 0.3, "evaluate": 6.0}
"""Seconds after a stage's heading; its JVMs or requests are at work by then. Other stages take a moment in all."""
OF_EACH_KIND = (
    ("trajectories", signal.SIGKILL),
    ("annotate", signal.SIGINT),
    ("datasets first", signal.SIGKILL),
    ("finetune executor", signal.SIGINT),
    ("export first", signal.SIGTERM),
    ("evaluate", signal.SIGKILL),
)


def end_in(process: subprocess.Popen[str], stage: str, number: signal.Signals) -> tuple[int, str]:
    """Signal the process alone once it is in a stage; its exit code and what it printed."""
    printed: list[str] = []
    assert process.stdout
    for line in process.stdout:
        printed.append(line)
        if f"] {stage}: " in line and f"] {stage}: done" not in line:
            break
    drain = threading.Thread(target=lambda: printed.extend(process.stdout or ()))
    drain.start()
    time.sleep(INTO.get(stage, 0.05))
    assert process.poll() is None, "".join(printed)
    os.kill(process.pid, number)
    code = process.wait(SECONDS)
    drain.join(SECONDS)
    return code, "".join(printed)


def interrupt_and_finish(
    folder: Path, output: str, annotator: FaultyAnnotator, ends: Sequence[tuple[str, signal.Signals]]
) -> None:
    """End a reproduction in each of these stages in turn, then let it finish."""
    options = ("--annotator", "llm", "--url", annotator.url, "--llm-model", "stand-in", "--yes")
    for stage, number in ends:
        code, printed = end_in(start(folder, *options, output=output), stage, number)
        where = f"{stage} {number.name}:\n{printed}"
        assert "Traceback" not in printed, where
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 128 + number), where
    code, printed = run(folder, *options, output=output)
    assert code == 0, printed
    finished = STAGES[: STAGES.index(ends[-1][0])]
    assert all(f"{stage}: done" in printed for stage in finished), printed
    assert printed.count("recorded already") == ("trajectories" in finished)
    assert printed.count("trained already") == sum(stage.startswith("finetune") for stage in finished)
    kept = list((folder / output / "llm").glob("*.json"))
    assert len(kept) <= sum(annotator.asked.values()) <= len(kept) + 8  # asked once, but for those under way at an end
    table = (folder / output / "table.md").read_text()
    assert "| published |" in table
    assert "| published_flat |" in table
    assert "65.43" in table
    manifest = json.loads((folder / output / "manifest.json").read_text())
    for name in ("trajectories.parquet", "annotations.parquet", "checkpoints/flat/card.json", "table.md"):
        assert manifest["files"][name] == sha256_of(folder / output / name)
    assert list(manifest["stages"]) == list(STAGES)
    assert len(list((folder / output / "play").glob("*/evaluation.json"))) == 2


def test_a_killed_reproduction_goes_on_and_ends_with_its_table(toy_folder: Path, annotator: FaultyAnnotator) -> None:
    interrupt_and_finish(toy_folder, "out", annotator, [("finetune executor", signal.SIGKILL)])


@pytest.mark.parametrize(
    "ends",
    [OF_EACH_KIND, *([(stage, number) for stage in STAGES] for number in (signal.SIGKILL, signal.SIGINT))],
    ids=["each kind", "SIGKILL in all", "SIGINT in all"],
)
def test_an_end_in_any_stage_loses_nothing(
    toy_folder: Path,
    annotator: FaultyAnnotator,
    ends: Sequence[tuple[str, signal.Signals]],
    request: pytest.FixtureRequest,
) -> None:
    if not request.config.getoption("--soak"):
        pytest.skip("takes minutes; give --soak")
    interrupt_and_finish(toy_folder, f"{len(ends)}-{ends[1][1].name}", annotator, ends)
