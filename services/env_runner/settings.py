"""Settings of the env-runner, app and worker alike; read once at the entry, from `WAYMARK_*`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pydantic import Field, JsonValue, SecretStr, field_validator

from services.env_runner.identity import CHECKPOINT_WAIT_SECONDS
from services.env_runner.redis_address import RedisAddress, parse, read_password
from waymark.clients.chat import Endpoint
from waymark.process import simulators_at_once
from waymark.serving.settings import ListenSettings
from waymark.worlds.registry import DEFAULT_WORLD, WorldName


def _greedy() -> dict[str, JsonValue]:
    return {"temperature": 0}


def _user_cache() -> Path | None:
    """The folder for caches of the user who runs this; None for one without a home."""
    with suppress(RuntimeError):
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "waymark"
    return None


class ViewerSettings(ListenSettings):
    """What the dashboard over run folders needs to know."""

    port: int = Field(8000, ge=0, le=65_535)
    """0: any free one."""
    runs: Path = Path("runs")
    """The folder of all runs, where none is named."""


class Settings(ListenSettings):
    """What an env-runner process needs to know."""

    port: int = Field(8000, ge=1, le=65_535)
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """`redis://`, `rediss://` or `unix://`. May hold a password of any characters, as it is or percent-encoded."""
    redis_password: SecretStr = SecretStr("")
    """As it is; counts more than one in the address."""
    redis_password_file: Path | None = None
    """A file that holds the password instead."""
    controller_url: str = "http://127.0.0.1:8001"
    executor_url: str = "http://127.0.0.1:8002"
    runs: Path = Path("runs")
    """Where the app writes a folder for each evaluation."""
    environment: WorldName = DEFAULT_WORLD
    slots: int = Field(default_factory=simulators_at_once, ge=1, le=256)
    """Episodes that a worker plays at once, a simulator for each."""
    play_sessions: int = Field(2, ge=0, le=64)
    """Sessions of play along that may be open at once; a worker hosts one at a time, beside its slots. 0: none."""
    play_minutes: float = Field(30.0, gt=0, le=1_440)
    """How long a session of play along may last."""
    metrics_port: int = Field(0, ge=0, le=65_535)
    """Where Prometheus finds the counts of a worker; 0: nowhere."""
    lease_seconds: float = Field(30.0, gt=0)
    """An episode whose worker gives no sign of life for this long is given to another."""
    checkpoint_wait_seconds: float = Field(CHECKPOINT_WAIT_SECONDS, ge=0)
    """How long an episode waits for the checkpoint that its evaluation was submitted for, before it goes back to the
    queue."""
    redis_wait_seconds: float = Field(300.0, ge=0)
    """How long a worker waits for a Redis that has gone before it gives up."""
    simulator_memory_mb: float = Field(2_000, gt=0)
    """A simulator that holds more than this is replaced, and its episode played again."""
    simulator_timeout_seconds: float = Field(60.0, gt=0)
    """One that takes longer than this for a step, too."""
    simulator_cache: Path | None = Field(default_factory=_user_cache)
    """Where simulators keep what makes the next ones faster, some 30 MB for each Java; empty: nowhere."""
    planner_url: str = ""
    """Base address of the chat endpoint that plans whole episodes (`llm_plan`), e.g. `…/v1`; empty: there is none."""
    planner_model: str = ""
    """As that endpoint calls it."""
    planner_key: SecretStr = SecretStr("")
    """Sent to it as a bearer token."""
    planner_parameters: dict[str, JsonValue] = Field(default_factory=_greedy)
    """More fields of each request to it, as a JSON object, e.g. max_tokens."""
    planner_timeout_seconds: float = Field(120.0, gt=0)
    """How long it may take for one try."""

    @field_validator("simulator_cache", "redis_password_file", mode="before")
    @classmethod
    def _empty_path_is_none(cls, value: object) -> object:
        return value or None

    @property
    def redis(self) -> RedisAddress:
        """Where Redis is. Raises InvalidInput for an address that is none, and a password file that cannot be read."""
        password = read_password(self.redis_password.get_secret_value(), self.redis_password_file)
        return parse(self.redis_url.get_secret_value(), password)

    @property
    def planner(self) -> Endpoint | None:
        """The endpoint that plans, if one is named. Raises InvalidInput for an address or a model that is none."""
        if not self.planner_url:
            return None
        key = self.planner_key.get_secret_value().strip()
        return Endpoint(self.planner_url, self.planner_model, key, self.planner_parameters, "WAYMARK_PLANNER")
