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
