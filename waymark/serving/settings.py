"""The settings of the controller and the executor: each declared once, read once, from `WAYMARK_*`."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.inference.load import Engine
from waymark.process import available_cores
from waymark.serving.middleware.connections import ConnectionLimits
from waymark.serving.telemetry import logs

Service = Literal["controller", "executor"]
_HOST = re.compile(r"[0-9a-z_]([0-9a-z._-]{0,252}[0-9a-z.])?|\[[0-9a-f:.]+\]")
_SHOWN = 300
"""Characters of a value that an error quotes."""
_Settings = TypeVar("_Settings", bound=BaseSettings)

PORTS: dict[Service, int] = {"controller": 8001, "executor": 8002}
ROLES: dict[Service, tuple[Role, ...]] = {"controller": ("controller", "first"), "executor": ("executor", "flat")}
"""The roles that a service can serve, its `default` first."""
_CHECKPOINTS: dict[Service, dict[str, Path]] = {
    "controller": {"default": Path("checkpoints/controller")},
    "executor": {"default": Path("checkpoints/executor"), "flat": Path("checkpoints/flat")},
}
_FIRST = Path("checkpoints/first")
"""Names an episode's first sub-goal; the controller loads it if it is there."""


class ListenSettings(BaseSettings):
    """Where a service listens. `WAYMARK_HOST=…` sets `host`, and so on."""

    model_config = SettingsConfigDict(env_prefix="WAYMARK_", frozen=True)

    host: str = "127.0.0.1"
    api_keys: SecretStr = SecretStr("")
    """Keys that callers must show one of, between commas. None here and none in a file: nobody is asked."""
    api_keys_file: Path | None = None
    """A file with more keys, one a line; a line that begins with `#` is a comment."""
    allow_remote: bool = False
    """Listen beyond loopback without asking for a key: only on a network that you trust."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Names under which callers may address the service, besides those of this machine. None: any name where the
    service asks for keys or listens beyond loopback, else those of this machine alone."""
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = ConnectionLimits.connections
    """Connections open at once; fewer where the process may open few files."""
    max_head_bytes: Annotated[int, Field(ge=1_024, le=1_048_576)] = ConnectionLimits.head_bytes
    """Bytes of URL and headers together; over it, 431."""
    head_seconds: Annotated[float, Field(gt=0, le=3_600)] = ConnectionLimits.head_seconds
    """How long the headers of a request may take to arrive; over it, 408."""
    body_seconds: Annotated[float, Field(gt=0, le=3_600)] = ConnectionLimits.body_seconds
    """How long a body may pause while it arrives; over it, 408."""
    body_rate: Annotated[float, Field(gt=0)] = ConnectionLimits.body_rate
    """Bytes a second that a body must arrive with once `body_seconds` have passed; under it, 408."""
    idle_seconds: Annotated[float, Field(gt=0, le=3_600)] = ConnectionLimits.idle_seconds
    """How long a connection is kept open between two requests."""
    write_seconds: Annotated[float, Field(gt=0, le=3_600)] = ConnectionLimits.write_seconds
    """How long a caller may read nothing of its answer before the connection is closed."""
    log: logs.Form = "text"
    """`json`: one document a line, for machines."""

    @property
    def asks_for_key(self) -> bool:
        """Whether callers must show a key."""
        return bool(self.api_keys.get_secret_value().strip(", ")) or self.api_keys_file is not None

    @property
    def connections(self) -> ConnectionLimits:
        """The limits of its connections."""
        return ConnectionLimits(
            connections=self.max_connections,
            head_bytes=self.max_head_bytes,
            head_seconds=self.head_seconds,
            body_seconds=self.body_seconds,
            body_rate=self.body_rate,
            idle_seconds=self.idle_seconds,
            write_seconds=self.write_seconds,
        )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _parse_hosts(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        hosts = tuple(host.strip().lower() for host in value.split(",") if host.strip())
        wrong = next((host for host in hosts if not _HOST.fullmatch(host)), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r} is no host name; give names without scheme, port or path, between commas")
        return hosts

    @field_validator("api_keys_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @model_validator(mode="after")
    def _stay_on_loopback(self) -> Self:
        if not (self.allow_remote or self.asks_for_key or is_loopback(self.host)):
            raise ValueError(
                f"WAYMARK_HOST={self.host} listens beyond loopback, where anybody could ask; "
                "set WAYMARK_API_KEYS, or WAYMARK_ALLOW_REMOTE=1 on a network that you trust"
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
    part_cores: bool = False
    """For ctranslate2: whether its threads get the last `threads` of the cores that the process may use for themselves,
    and everything else the other ones. Not for several services on the same cores."""
    vllm_url: Annotated[tuple[str, ...], NoDecode] = ()
    """For the vllm engine: servers that run already, between commas. None: it starts one for each checkpoint."""
    vllm_python: Path | None = None
    """For the vllm engine: the interpreter of the environment of vLLM; null: that of `./run vllm`."""
    checkpoints: Annotated[dict[str, Path] | None, NoDecode] = None
    """Pairs of name and folder: `default=checkpoints/executor,flat=checkpoints/flat`, or for the controller
    `default=checkpoints/controller,first=checkpoints/first`; null or empty: those that ship, and `first` if it is
    there. A JSON object, `{"default": "FOLDER"}`, takes folders whose names hold commas."""
    max_batch: Annotated[int, Field(ge=1, le=1_024)] = 32
    """Requests that share one run of the model."""
    max_batch_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 4_096
    """Input tokens that share one run, padding included. Enough for every core to get several of the small batches that
    ctranslate2 makes of it; more pays on a GPU."""
    max_wait_ms: Annotated[float, Field(ge=0, le=1_000)] = 5.0
    """How long work may wait for company once the model could take it. At an idle model it never waits."""
    max_queue_seconds: Annotated[float, Field(gt=0, le=3_600)] = 0.5
    """How long a request may have to wait at the pace of the moment; over it, 429. One list's worth may always."""
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = 1_024
    """Requests that may wait, for all models together; over it, 429."""
    max_queue_tokens: Annotated[int, Field(ge=1, le=100_000_000)] = 524_288
    """What may wait may cost so many tokens; over it, 429. Heavy requests take half of it at most."""
    max_request_tokens: Annotated[int, Field(ge=1, le=100_000_000)] = 163_840
    """What one request, or one list, may cost in tokens: prompts, answers of full length, and candidates with their
    prompt each time that the engine reads it. Over it, 413. Enough for 256 candidates of 128 tokens beside a prompt of
    512."""
    max_items: Annotated[int, Field(ge=1, le=1_024)] = 64
    """Requests in one list; over it, 413. Never more than may wait."""
    max_turns: Annotated[int, Field(ge=0, le=1_000)] = 1_000
    """Turns of one state; over it, 422."""
    max_alternatives: Annotated[int, Field(ge=1, le=16)] = 16
    """`n` of one request; over it, 422."""
    max_candidates: Annotated[int, Field(ge=1, le=256)] = 256
    """`valid_actions` of one request; over it, 422."""
    max_input_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 8_192
    """Tokens of one prompt; over it, 413. What is over the checkpoint's own limit is cut, and the answer says so."""
    max_body_bytes: Annotated[int, Field(ge=1_024)] = 4_000_000
    """Over it, 413."""
    grace_seconds: Annotated[float, Field(ge=0, le=3_600)] = 10.0
    """How long what runs and waits may take after SIGTERM."""

    @model_validator(mode="after")
    def _leave_python_a_core(self) -> Self:
        if self.part_cores and self.engine != "ctranslate2":
            raise ValueError(
                "WAYMARK_PART_CORES is for WAYMARK_ENGINE=ctranslate2: other engines compute in Python's threads"
            )
        if self.part_cores and not 0 < self.threads < available_cores():
            raise ValueError(
                f"WAYMARK_PART_CORES needs WAYMARK_THREADS from 1 to {available_cores() - 1}, so that both have cores"
            )
        return self

    @field_validator("vllm_url", mode="before")
    @classmethod
    def _parse_urls(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        urls = [url.strip() for url in value.split(",") if url.strip()]
        if not all(url.startswith(("http://", "https://")) for url in urls):
            raise ValueError("give addresses that begin with http:// or https://, between commas")
        return urls

    @field_validator("vllm_python", mode="before")
    @classmethod
    def _no_python(cls, value: object) -> object:
        return value or None

    @field_validator("checkpoints", mode="before")
    @classmethod
    def _parse_checkpoints(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if not value.strip():
            return None
        if value.lstrip().startswith("{"):
            return _folders_of(value)
        pairs = [entry.partition("=") for entry in value.split(",") if entry.strip()]
        if not pairs or any(not name.strip() or not path.strip() for name, _, path in pairs):
            raise ValueError("give name=folder pairs, e.g. default=checkpoints/executor,flat=checkpoints/flat")
        return {name.strip(): path.strip() for name, _, path in pairs}

    def port_of(self, service: Service) -> int:
        """Where a service listens."""
        return PORTS[service] if self.port is None else self.port

    def checkpoints_of(self, service: Service) -> dict[str, Path]:
        """What a service loads, by the name that requests use."""
        if self.checkpoints:
            return self.checkpoints
        ship = _CHECKPOINTS[service]
        if ship["default"].exists():  # a folder of one's own may hold no flat executor
            ship = {name: folder for name, folder in ship.items() if name == "default" or folder.exists()}
        first = {"first": _FIRST} if service == "controller" and _FIRST.exists() else {}
        return ship | first


def _folders_of(text: str) -> dict[str, str]:
    """Names and folders from a JSON object. Raises ValueError."""
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError):
        pairs = None
    if (
        not isinstance(pairs, dict)
        or not pairs
        or not all(isinstance(folder, str) and folder for folder in pairs.values())
    ):
        raise ValueError('give a JSON object of names and folders, e.g. {"default": "checkpoints/executor"}')
    return {name.strip(): folder for name, folder in pairs.items()}


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
        secret = isinstance(first["input"], SecretStr) or variable == "WAYMARK_API_KEYS"
        value = f"{variable}={'…' if secret else str(first['input'])[:_SHOWN]}: " if variable else ""
        raise InvalidInput(f"{value}{first['msg'].removeprefix('Value error, ')}.", field=variable) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
