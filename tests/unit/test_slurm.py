"""The scripts for Slurm, run without Slurm: stand-ins take the place of what they start."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "deploy" / "slurm"


def program(path: Path, text: str) -> None:
    """A stand-in that can be started."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks as if it had been set up; each stand-in notes what it was called with."""
    for name in ("accelerate", "python"):
        program(tmp_path / ".venv" / "bin" / name, f'echo {name} "$@" >>"$SLURM_SUBMIT_DIR/calls"')
    program(tmp_path / "bin" / "scontrol", 'echo scontrol "$@" >>"$SLURM_SUBMIT_DIR/calls"')
    return tmp_path


def start(checkout: Path, script: str, **settings: str) -> subprocess.Popen[str]:
    """The script as Slurm starts it."""
    environment = {
        "PATH": f"{checkout}/bin:{os.environ['PATH']}",
        "USER": "somebody",
        "SLURM_SUBMIT_DIR": str(checkout),
    }
    return subprocess.Popen(
        ["bash", str(SCRIPTS / script)],
        env=environment | settings,
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def calls(checkout: Path) -> list[str]:
    """What was called, with its arguments."""
    return (checkout / "calls").read_text().splitlines()


def wait_for(path: Path) -> None:
    """Return once a file is there."""
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("script", "settings", "named"),
    [
        ("train.sbatch", {}, "ROLE"),
        ("train.sbatch", {"ROLE": "executor"}, "RECIPE"),
        ("workers.sbatch", {}, "WAYMARK_REDIS_URL"),
        ("workers.sbatch", {"WAYMARK_REDIS_URL": "redis://elsewhere"}, "WAYMARK_CONTROLLER_URL"),
    ],
)
def test_a_missing_setting_is_named(checkout: Path, script: str, settings: dict[str, str], named: str) -> None:
    process = start(checkout, script, **settings)
    output, _ = process.communicate(timeout=20)
    assert process.returncode != 0
    assert named in output


def test_training_ends_with_an_export(checkout: Path) -> None:
    process = start(checkout, "train.sbatch", ROLE="executor", RECIPE="r.json", CONFIG="gpus.yaml")
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    trained, exported = calls(checkout)
    assert trained == (
        "accelerate launch --config_file gpus.yaml -m training finetune executor --format seed "
        "--run build/large/executor --recipe r.json"
    )
    assert exported.startswith("python -P -m training export executor --format seed --run build/large/executor")


def test_a_training_that_fails_exports_nothing(checkout: Path) -> None:
    program(checkout / ".venv" / "bin" / "accelerate", "exit 7")
    process = start(checkout, "train.sbatch", ROLE="executor", RECIPE="r.json")
    process.communicate(timeout=20)
    assert process.returncode == 7
    assert not (checkout / "calls").exists()


@pytest.mark.parametrize(("restarts", "requeued"), [("0", True), ("5", False)])
def test_the_time_limit_requeues_the_training(checkout: Path, restarts: str, requeued: bool) -> None:
    program(checkout / ".venv" / "bin" / "accelerate", 'touch "$SLURM_SUBMIT_DIR/runs"; exec sleep 60')
    limit = {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": restarts}
    process = start(checkout, "train.sbatch", ROLE="executor", RECIPE="r.json", **limit)
    wait_for(checkout / "runs")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert (process.returncode == 0) is requeued
    assert (checkout / "calls").exists() is requeued
    if requeued:
        assert calls(checkout) == ["scontrol requeue 42"]


def test_a_slurm_worker_stops_with_its_job(checkout: Path) -> None:
    program(
        checkout / ".venv" / "bin" / "python",
        'if [ "$2" = - ]; then echo 0; else trap "touch $SLURM_SUBMIT_DIR/stopped; exit 0" TERM; '
        'echo "$WAYMARK_SLOTS" >"$SLURM_SUBMIT_DIR/calls"; while :; do sleep 0.1; done; fi',
    )
    settings = {"WAYMARK_REDIS_URL": "r", "WAYMARK_CONTROLLER_URL": "c", "WAYMARK_EXECUTOR_URL": "e"}
    process = start(checkout, "workers.sbatch", **settings, SLURM_CPUS_PER_TASK="4")
    wait_for(checkout / "calls")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=40)
    assert calls(checkout) == ["6"]
    assert (checkout / "stopped").exists()
