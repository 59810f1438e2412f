"""Finds finished results that could not be written, and writes them from the data of the embedded Redis."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from waymark.child_processes.python_process import python_command, python_environment
from waymark.cli.embedded_redis import EmbeddedRedis, has_data
from waymark.cli.local_stack import Stack
from waymark.command_hints import command
from waymark.errors import InvalidInput, NotFound, StorageUnavailable
from waymark.evaluation.run_folder import RunFolder
from waymark.evaluation.writable_folders import check_writable


def count_written(folder: RunFolder) -> int | None:
    """Number of episodes in a run folder; None if it cannot be read."""
    try:
        return sum(1 for _ in folder.results())
    except (InvalidInput, OSError):
        return None


def check_written(finished: Mapping[Path, int]) -> None:
    """Raise StorageUnavailable if a folder holds fewer episodes than are finished."""
    for path, count in finished.items():
        there = count_written(RunFolder(path)) or 0
        if there < count:
            raise StorageUnavailable(
                f"{path} holds {there} of {count} finished episodes.",
                remedy="It was changed or removed by another process, or it could not be written.",
            )


def kept_data_text(data: Path, runs: Path) -> str:
    """Says where unwritten results are, and the command that writes them to the folder of all runs."""
    return (
        f"Not every result may be on disk. All are kept in {data}. To write them once that is possible:\n"
        f"  {command('recover', data, '--runs', runs)}"
    )


@contextmanager
def kept_data_is_named(stack: Stack, say: Callable[[str], None]) -> Iterator[Stack]:
    """A context around a running stack. At its end it prints where unwritten results are, and the command to recover
    them.
    """
    try:
        with stack:
            yield stack
    finally:
        if stack.kept is not None:
            say(kept_data_text(stack.kept, stack.runs))
        elif stack.unwritten:
            say(
                "Not every result may be on disk. Redis (WAYMARK_REDIS_URL) holds them all: the next env-runner that "
                f"is started with {stack.runs} as its runs folder writes them."
            )


def recover_results(data: Path, runs: Path | None, say: Callable[[str], None]) -> None:
    """Write all results that the data of a Redis hold to the folder of all runs, then remove the data.

    `runs` is by default the folder that the stack was in whose data they are. Raises NotFound, InvalidInput,
    StorageUnavailable, StackError; then the data stay.
    """
    if not has_data(data):
        raise NotFound(f"{data} holds no data of a Redis.", remedy="Give the folder that the command named.")
    if runs is None:
        is_in_runs = data.absolute().parent.name.startswith("stack-")
        runs = data.absolute().parents[1] if is_in_runs else Path("runs")
    check_writable(runs)
    with tempfile.TemporaryDirectory(prefix="waymark-") as logs:
        with EmbeddedRedis(data.resolve(), Path(logs) / "redis.log") as redis:
            settings = {
                **python_environment(),
                "PYTHONIOENCODING": "utf-8",
                "WAYMARK_REDIS_URL": redis.url,
                "WAYMARK_REDIS_PASSWORD": "",
                "WAYMARK_REDIS_PASSWORD_FILE": "",
                "WAYMARK_RUNS": str(runs.resolve()),
            }
            publish = python_command("services.env_runner", "publish")
            done = subprocess.run(
                publish, env=settings, capture_output=True, encoding="utf-8", errors="replace", check=False
            )
        for line in done.stdout.splitlines():
            say(line)
        if done.returncode:
            raise StorageUnavailable(
                f"Not all results could be written: {' '.join(done.stderr.split()) or 'no reason was given'}",
                remedy=f"They are still in {data}; run this again.",
            )
    shutil.rmtree(data, ignore_errors=True)
    with suppress(OSError):  # the folder of the stack that it was in, if nothing else is there
        data.absolute().parent.rmdir()
    say(f"All results are in {runs}; {data} is removed. `{command('resume')} {runs}/ID` plays what is not finished.")
