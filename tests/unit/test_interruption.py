"""Signals that end a command: its exit code says so, whatever code it was in, and it cleans up first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from training.interruption import run_async

ROOT = Path(__file__).parents[2]
KILL = "os.kill(os.getpid(), signal.{name})"
COMMAND = """
import os, runpy, signal, sys, time
from {module} import app

@app.command("interrupted")
def interrupted({parameter}) -> None:
    {body}

sys.argv = ["{name}", "interrupted"]
runpy.run_module("{name}", run_name="__main__", alter_sys=True)
"""
"""A program that is `python -m NAME` with one more command. typer reads the annotations of its parameters by `eval`."""


def run(folder: Path, name: str, parameter: str = "", body: str = "pass") -> tuple[int, str]:
    """The exit code of such a program, negative if a signal itself ended it, and what it printed."""
    module = {"training": "training.cli", "waymark": "waymark.cli.main"}[name]
    program = "from __future__ import annotations" + COMMAND.format(
        module=module, name=name, parameter=parameter, body=body
    )
    (folder / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "program"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["training", "waymark"])
def test_ctrl_c_while_annotations_are_read_ends_with_130(name: str, tmp_path: Path) -> None:
    code, printed = run(tmp_path, name, parameter=f"value: {KILL.format(name='SIGINT')} or int = 0")
    assert (code, printed) == (130, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_training_command_with_its_code(number: signal.Signals, tmp_path: Path) -> None:
    code, printed = run(tmp_path, "training", body=KILL.format(name=number.name))
    assert (code, printed) == (128 + number, "")


def test_a_signal_that_is_passed_on_does_not_disturb_the_cleaning_up(tmp_path: Path) -> None:
    body = f"""
    try:
        {KILL.format(name="SIGINT")}
    finally:
        {KILL.format(name="SIGTERM")}
        print("clean")
    """
    assert run(tmp_path, "training", body=body) == (130, "clean\n")


def test_a_signal_while_the_interpreter_ends_prints_no_traceback(tmp_path: Path) -> None:
    body = f"import atexit; atexit.register(lambda: {KILL.format(name='SIGINT')})"
    assert run(tmp_path, "training", body=body) == (130, "")


def test_a_signal_cancels_tasks_which_clean_up() -> None:
    cleaned = []

    async def wait() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep(60)
        finally:
            cleaned.append(True)

    async def run_two() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(wait)

    began = time.monotonic()
    with pytest.raises(SystemExit) as exit_:
        run_async(run_two)
    assert exit_.value.code == 143
    assert cleaned == [True, True]
    assert time.monotonic() - began < 30


def test_without_a_signal_the_result_is_returned() -> None:
    async def answer() -> int:
        return 42

    assert run_async(answer) == 42


def test_run_starts_the_module_that_handles_ctrl_c_before_its_imports() -> None:
    """Like the script that pip installs, which calls the same function (`test_wheel.py`)."""
    last = [line for line in (ROOT / "run").read_text().splitlines() if "WAYMARK_COMMAND=" in line]
    assert len(last) == 1
    assert '/bin/python" -P -m waymark ' in last[0]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "waymark", "--help"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while process.poll() is None and "pydantic_core" not in maps.read_text():
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=100)
    assert (process.returncode, printed) == (130, b"")
