"""The record of a running `waymark up`, by which `waymark down` and `waymark status` find its stack.

A file in the folder of the stack, under the runs folder: `runs/stack-…/up.json`. The start time of the process
distinguishes it from a later one with the same number, so no other process is ever ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from waymark.errors import InvalidInput
from waymark.evaluation.run_folder_checks import open_regular

FILE: Final = "up.json"
_LARGEST: Final = 100_000
_POLL_SECONDS: Final = 0.1


class StackRecord(BaseModel):
    """A stack that runs, or ran when this was written."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    """Of the `waymark up` that holds it."""
    started: str
    """When that process started, as the operating system tells it."""
    urls: dict[str, str]
    """Addresses by service."""
    pids: dict[str, int]
    """Processes by part."""
    logs: str


def write_record(folder: Path, urls: Mapping[str, str], pids: Mapping[str, int], logs: Path) -> Path:
    """Write down that this process holds a stack in a folder. Raises OSError."""
    record = StackRecord(
        pid=os.getpid(), started=start_of(os.getpid()) or "", urls=dict(urls), pids=dict(pids), logs=str(logs)
    )
    path = folder / FILE
    draft = path.with_suffix(".tmp")
    draft.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
    return path


def find_records(runs: Path) -> Iterator[tuple[Path, StackRecord]]:
    """Each stack that runs now and keeps its results in a folder; files that others left there are passed over."""
    for path in sorted(runs.glob(f"stack-*/{FILE}")):
        record = _read(path)
        if record is not None and is_running(record):
            yield path, record


def is_running(record: StackRecord) -> bool:
    """Whether the very process that wrote the record runs."""
    return record.pid > 1 and bool(record.started) and start_of(record.pid) == record.started


def stop(record: StackRecord, seconds: float) -> bool:
    """Ask the `waymark up` of a record to end, and wait for it. False if it still runs after so many seconds."""
    with suppress(ProcessLookupError):
        if is_running(record):
            os.kill(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while is_running(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def start_of(pid: int) -> str | None:
    """When a process started, in the words of the operating system; None for one that does not run."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    if os.path.isdir("/proc/self"):
        return None
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
        )
        return done.stdout.strip() or None
    return None


def _read(path: Path) -> StackRecord | None:
    try:
        with open_regular(path, "rb") as file:
            return StackRecord.model_validate_json(file.read(_LARGEST))
    except (OSError, InvalidInput, ValidationError):
        return None
