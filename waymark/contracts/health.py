"""What `GET /health/ready` of the env-runner says, as the command line and monitors read it.

Times are ISO 8601, UTC.
"""

from __future__ import annotations

from typing import Literal

from waymark.contracts import Contract


class TaskHealth(Contract):
    """One background task of a service."""

    name: str
    state: Literal["running", "failed", "stalled"]
    """`failed`: it died and is started again with growing pauses. `stalled`: it lives and has not moved for long."""
    since: str
    """When it entered this state."""
    problem: str = ""
    """Why it failed."""


class StorageHealth(Contract):
    """The folder of all runs cannot be written."""

    since: str
    problem: str
    remedy: str


class SetAside(StorageHealth):
    """One evaluation whose results cannot be written, or whose records in Redis cannot be read; others go on."""

    evaluation: str
    retry_seconds: int
    """Pause until it is tried again."""


class RunnerHealth(Contract):
    """The env-runner answers requests. `degraded`: something below needs somebody's attention."""

    status: Literal["ok", "degraded"]
    tasks: tuple[TaskHealth, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    runs: StorageHealth | None = None
