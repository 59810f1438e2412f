"""The settings of the controller and the executor: each declared once, read once, from `WAYMARK_*`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.generation.load import Engine

Service = Literal["controller", "executor"]
_Settings = TypeVar("_Settings", bound=BaseSettings)

PORTS: dict[Service, int] = {"controller": 8001, "executor": 8002}
ROLES: dict[Service, tuple[Role, ...]] = {"controller": ("controller", "first"), "executor": ("executor", "flat")}
"""The roles that a service can serve, its `default` first."""
_CHECKPOINTS: dict[Service, dict[str, Path]] = {
    "controller": {"default": Path("checkpoints/controller")},
    "executor": {"default": Path("checkpoints/executor"), "flat": Path("checkpoints/flat")},
}


class ListenSettings(BaseSettings):
    """Where a service listens. `WAYMARK_HOST=…` sets `host`, and so on."""

    model_config = SettingsConfigDict(env_prefix="WAYMARK_", frozen=True)

    host: str = "127.0.0.1"
    allow_remote: bool = False
    """Listen beyond loopback. Nobody is asked for a key yet: only on a network that you trust."""

    @model_validator(mode="after")
    def _stay_on_loopback(self) -> Self:
        if not (self.allow_remote or _is_loopback(self.host)):
            raise ValueError(
                f"WAYMARK_HOST={self.host} listens beyond loopback, where anybody could ask; "
                "set WAYMARK_ALLOW_REMOTE=1 on a network that you trust"
            )
        return self


class ServiceSettings(ListenSettings):
    """How the controller or the executor runs."""

    port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Null: 8001 for the controller, 8002 for the executor; 0: any free one."""
    engine: Engine = "ctranslate2"
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    dtype: str = "auto"
    """What the engine computes in; `auto`: as the weights are stored (ctranslate2), float32 on a CPU (transformers)."""
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """For the engine; 0: all cores that the process may use."""
    checkpoints: Annotated[dict[str, Path] | None, NoDecode] = None
    """`default=checkpoints/executor,flat=checkpoints/flat`; null: those that ship."""
    max_batch: Annotated[int, Field(ge=1, le=1_024)] = 32
    """Requests that share one run of the model."""
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Requests that may wait; over it, 429."""
    max_body_bytes: Annotated[int, Field(ge=1_024)] = 4_000_000

    @field_validator("checkpoints", mode="before")
    @classmethod
    def _parse_checkpoints(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [entry.partition("=") for entry in value.split(",") if entry.strip()]
        if not pairs or any(not name.strip() or not path.strip() for name, _, path in pairs):
            raise ValueError("give name=folder pairs, e.g. default=checkpoints/executor,flat=checkpoints/flat")
        return {name.strip(): path.strip() for name, _, path in pairs}

    def port_of(self, service: Service) -> int:
        """Where a service listens."""
        return PORTS[service] if self.port is None else self.port

    def checkpoints_of(self, service: Service) -> dict[str, Path]:
        """What a service loads, by the name that requests use."""
        return self.checkpoints or _CHECKPOINTS[service]


def read_settings() -> ServiceSettings:
    """A model service's settings from the environment. Raises InvalidInput that quotes the variable."""
    return read(ServiceSettings)


def read(kind: type[_Settings]) -> _Settings:
    """Settings of some kind from the environment. Raises InvalidInput that quotes the variable."""
    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "WAYMARK_" + str(first["loc"][0]).upper() if first["loc"] else None
        value = f"{variable}={first['input']}: " if variable else ""
        raise InvalidInput(f"{value}{first['msg'].removeprefix('Value error, ')}.", field=variable) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
