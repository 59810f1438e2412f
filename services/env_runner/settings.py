"""Settings of the env-runner, app and worker alike; read once at the entry, from `WAYMARK_*`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.env_runner.environments import EnvironmentName
from waymark.process import available_cores
from waymark.serving.settings import ListenSettings


class Settings(ListenSettings):
    """What an env-runner process needs to know."""

    port: int = Field(8000, ge=1, le=65_535)
    redis_url: str = Field("redis://127.0.0.1:6379/0", repr=False)
    """`redis://`, `rediss://` or `unix://`; may hold a password, so it is never printed."""
    controller_url: str = "http://127.0.0.1:8001"
    executor_url: str = "http://127.0.0.1:8002"
    runs: Path = Path("runs")
    """Where the app writes a folder for each evaluation."""
    environment: EnvironmentName = "scienceworld"
    slots: int = Field(default_factory=available_cores, ge=1, le=256)
    """Episodes that a worker plays at once, a simulator for each."""
    lease_seconds: float = Field(30.0, gt=0)
    """An episode whose worker gives no sign of life for this long is given to another."""
    redis_wait_seconds: float = Field(300.0, ge=0)
    """How long a worker waits for a Redis that has gone before it gives up."""
    simulator_memory_mb: float = Field(2_000, gt=0)
    """A simulator that holds more than this is replaced, and its episode played again."""
    simulator_timeout_seconds: float = Field(60.0, gt=0)
    """One that takes longer than this for a step, too."""
