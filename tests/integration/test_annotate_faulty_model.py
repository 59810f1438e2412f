"""66 paths, annotated by a server process whose answers are sometimes faulty; the command is killed in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import of_different_tasks, one_of_each_task, write_paths
from training.annotations import read_annotations
from training.trajectories import Trajectory

ROOT = Path(__file__).parents[2]
SECONDS = 900
"""For one run on a machine that is busy with other things; a quiet one takes seconds."""
PATHS = 66
CONCURRENCY = 8


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faulty_annotator"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def start(folder: Path, data: Path, url: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
    environment |= {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}
    options = ["--url", url, "--model", "stand-in", "--concurrency", str(CONCURRENCY), "--cache", "cache"]
    options += ["--prompt-price", "1", "--completion-price", "4", "--max-cost", "5", "--output", "annotations.parquet"]
    return subprocess.Popen(
        [sys.executable, "-m", "training", "annotate", "--annotator", "llm", "--data", str(data), *options],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def chosen_paths() -> list[Trajectory]:
    """One of each task type, and more of those whose instructions differ most."""
    paths = {path.key: path for path in one_of_each_task()}
    for task_id in ("2-1", "2-2", "3-3", "4-1", "5-1", "7-1"):
        paths |= {task.key: task for task in of_different_tasks(task_id, 9)}
    return list(paths.values())[:PATHS]


def kept(folder: Path) -> int:
    """Answers on disk."""
    return len(list((folder / "cache").glob("*.json")))


def test_sixty_paths_survive_faulty_answers_and_two_ends(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, url = server
    paths = chosen_paths()
    assert len(paths) == PATHS
    data = write_paths(paths, tmp_path)
    for answers, number in ((15, signal.SIGKILL), (35, signal.SIGINT)):
        annotating = start(tmp_path, data, url)
        while kept(tmp_path) < answers:
            assert annotating.poll() is None, annotating.communicate()
            time.sleep(0.02)
        annotating.send_signal(number)
        _, printed = annotating.communicate(timeout=SECONDS)
        assert annotating.returncode == (-number if number == signal.SIGKILL else 128 + number), printed
        assert "Traceback" not in printed
        assert not (tmp_path / "annotations.parquet").exists()

    annotating = start(tmp_path, data, url)
    _, printed = annotating.communicate(timeout=SECONDS)
    assert annotating.returncode == 0, printed
    assert re.search(rf"aligned: {PATHS} paths, \d+ of them not as answered", printed)
    annotations = read_annotations(tmp_path / "annotations.parquet")
    assert annotations.keys() == {path.key for path in paths}
    for path in paths:
        segments = annotations[path.key].segments
        assert [segment.start for segment in segments] == [0, *(segment.stop for segment in segments[:-1])]
        assert (segments[-1].stop, segments[-1].subgoal) == (len(path.steps), "complete_task()")

    manifest: dict[str, Any] = json.loads((tmp_path / "annotations.manifest.json").read_text())
    assert manifest["failed"] == []
    assert manifest["extra_actions"] > 0
    assert manifest["joined_actions"] > 0
    assert manifest["repair_calls"] > 0
    used = manifest["usage"]
    assert used["cached"]["answers"] >= 35
    assert used["asked"]["answers"] + used["cached"]["answers"] == kept(tmp_path)

    process.terminate()
    assert process.stdout
    requests = int(process.stdout.readline().split()[0])
    lost = 2 * CONCURRENCY  # at most those under way at each end
    refused = PATHS // 3  # those that the server was too busy for at first, which cost nothing
    assert kept(tmp_path) <= requests <= kept(tmp_path) + lost + refused
