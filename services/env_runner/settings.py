"""Settings of the env-runner's app and worker, read once at the start from `WAYMARK_*`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import Field, JsonValue, SecretStr, field_validator
from pydantic_core import from_json
from pydantic_settings import NoDecode

from services.env_runner.checkpoint_gate import CHECKPOINT_WAIT_SECONDS
from waymark.clients.chat import Endpoint
from waymark.operating_system.cpu_cores import simulators_at_once
from waymark.redis_address import RedisAddress, parse, read_password
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
    """Settings of the dashboard over run folders."""

    port: int = Field(8000, ge=0, le=65_535)
    """The port to listen on. 0: any free port."""
    runs: Path = Path("runs")
    """The folder whose runs are shown if none is named."""


class Settings(ListenSettings):
    """Settings of an env-runner process."""

    port: int = Field(8000, ge=1, le=65_535)
    """The port to listen on."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Address of Redis: `redis://`, `rediss://` or `unix://`. Its password may hold any characters, as they are or
    percent-encoded. A local stack starts a Redis of its own unless this is set."""
    redis_password: SecretStr = SecretStr("")
    """The password of Redis, taken literally. It replaces one in the address."""
    redis_password_file: Path | None = None
    """A file with the password of Redis, in place of `WAYMARK_REDIS_PASSWORD`."""
    controller_url: str = "http://127.0.0.1:8001"
    """Address of the controller."""
    executor_url: str = "http://127.0.0.1:8002"
    """Address of the executor."""
    runs: Path = Path("runs")
    """The folder for results; each evaluation gets a folder in it."""
    environment: WorldName = DEFAULT_WORLD
    """The world that is played. `scripted` is a toy world without Java."""
    slots: int = Field(default_factory=simulators_at_once, ge=1, le=256)
    """Episodes that a worker plays at once, each with a simulator of its own."""
    play_sessions: int = Field(2, ge=0, le=64)
    """Sessions of "play along" that may be open at once. A worker hosts one at a time, beside its slots. 0: none."""
    play_minutes: float = Field(30.0, gt=0, le=1_440)
    """Minutes that such a session may last."""
    metrics_port: int = Field(0, ge=0, le=65_535)
    """The port of a worker's metrics for Prometheus. 0: none."""
    lease_seconds: float = Field(30.0, gt=0)
    """Seconds of silence after which a worker's episodes go to another worker."""
    checkpoint_wait_seconds: float = Field(CHECKPOINT_WAIT_SECONDS, ge=0)
    """Seconds that an episode waits for the checkpoint that its evaluation was submitted for. Then it goes back to the
    queue."""
    redis_wait_seconds: float = Field(300.0, ge=0)
    """Seconds that a worker waits for a Redis that cannot be reached. Then it ends with an error."""
    simulator_memory_mb: float = Field(2_000, gt=0)
    """Megabytes that a simulator may use. A simulator over this limit is replaced, and its episode is played again."""
    simulator_timeout_seconds: float = Field(60.0, gt=0)
    """Seconds that a simulator may take for a step. A simulator over this limit is replaced, and its episode is played
    again."""
    simulator_cache: Path | None = Field(default_factory=_user_cache)
    """A folder in which simulators keep compiled code that makes the next ones faster, about 30 MB for each Java.
    Empty: none."""
    planner_url: str = ""
    """Base address of the chat endpoint that plans episodes for the agent `llm_plan`, e.g. `https://host/v1`."""
    planner_model: str = ""
    """The model's name at that endpoint."""
    planner_key: SecretStr = SecretStr("")
    """The key of that endpoint, sent as a bearer token."""
    planner_parameters: Annotated[dict[str, JsonValue], NoDecode] = Field(default_factory=_greedy)
    """Additional fields of each request to that endpoint, e.g. `max_tokens`."""
    planner_timeout_seconds: float = Field(120.0, gt=0)
    """Seconds that one request to that endpoint may take."""

    @field_validator("simulator_cache", "redis_password_file", mode="before")
    @classmethod
    def _empty_path_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("planner_parameters", mode="before")
    @classmethod
    def _parse_parameters(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if not value.strip():
            return _greedy()
        try:
            fields = from_json(value, allow_inf_nan=False)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise ValueError('give a JSON object, e.g. {"temperature": 0}')  # noqa: TRY004 - of a text
        return fields

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
