"""The settings of the controller and the executor: each declared once, read once, from `WAYMARK_*`."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.inference.open_engine import Engine
from waymark.serving.middleware.connection_limits import ConnectionLimits
from waymark.serving.printable_text import printable
from waymark.serving.telemetry import logs

Service = Literal["controller", "executor"]
_HOST = re.compile(r"[0-9a-z_]([0-9a-z._-]{0,252}[0-9a-z.])?|\[[0-9a-f:.]+\]")
_SHOWN = 300
"""Characters of a value that an error quotes."""
_UNQUOTED = frozenset({"WAYMARK_API_KEYS", "WAYMARK_PLANNER_PARAMETERS"})
"""Variables that may hold a secret although their type is not SecretStr."""
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

    model_config = SettingsConfigDict(env_prefix="WAYMARK_", frozen=True, allow_inf_nan=False)

    host: str = "127.0.0.1"
    """The address to listen on. Beyond loopback only with API keys, or with `WAYMARK_ALLOW_REMOTE=1`."""
    api_keys: SecretStr = SecretStr("")
    """Keys that the service accepts, between commas. Without any, here or in the file, callers need no key."""
    api_keys_file: Path | None = None
    """A file with more keys, one a line. Lines that begin with `#` are comments. It is read again when it changes."""
    allow_remote: bool = False
    """1: listen beyond loopback without asking for a key. Use it only on a network that you trust."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Host names that the service answers to, besides those of this machine; others get 421. Without any, a service on
    loopback that asks for no key answers to this machine's names alone, and any other service to every name."""
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = ConnectionLimits.connections
    """Connections open at once; fewer where the process may open few files. A new one replaces the one that has waited
    longest for a request; if all are busy, it gets 503."""
    max_head_bytes: Annotated[int, Field(ge=1_024, le=1_048_576)] = ConnectionLimits.head_bytes
    """Bytes of a request's URL and headers; larger ones get 431."""
    head_seconds: Annotated[float, Field(gt=0, le=3_600)] = ConnectionLimits.head_seconds
    """Seconds that the headers of a request may take to arrive; slower ones get 408."""
    body_seconds: Annotated[float, Field(gt=0, le=3_600)] = ConnectionLimits.body_seconds
    """Seconds that a request's body may pause while it arrives; longer pauses get 408."""
    body_rate: Annotated[float, Field(gt=0)] = ConnectionLimits.body_rate
    """Bytes a second at which a body must arrive, once `WAYMARK_BODY_SECONDS` have passed; slower ones get 408."""
    idle_seconds: Annotated[float, Field(gt=0, le=3_600)] = ConnectionLimits.idle_seconds
    """Seconds that a connection is kept open between two requests."""
    write_seconds: Annotated[float, Field(gt=0, le=3_600)] = ConnectionLimits.write_seconds
    """Seconds without reading after which a caller's connection is closed."""
    log: logs.Form = "text"
    """Form of the log. `json`: one document a line, with the id of the request."""

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

    @field_validator("*", mode="before")
    @classmethod
    def _tidy(cls, value: object, field: ValidationInfo) -> object:
        """Remove what an editor adds to a file of variables: Windows line ends and a byte-order mark."""
        is_secret = cls.model_fields[str(field.field_name)].annotation is SecretStr  # a secret may hold any character
        if is_secret or not isinstance(value, str):
            return value
        value = value.removeprefix("\ufeff").rstrip("\r\n")
        if not all(letter.isprintable() for letter in value):
            raise ValueError("it holds a control character or bytes that are not UTF-8")
        return value

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
    """The port to listen on. Default: 8001 for the controller, 8002 for the executor. 0: any free port."""
    engine: Engine = "ctranslate2"
    """What runs the models. `transformers` needs torch (`./run test` installs it), `vllm` decoder-only checkpoints and
    `./run vllm`. `scripted` needs no weights."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`. `auto`: a GPU if there is one."""
    dtype: str = "auto"
    """The number type that the engine computes in. `auto`: as the weights are stored (ctranslate2), float32 on a CPU
    (transformers)."""
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """Threads of the engine. 0: as many as the cores that the process may use."""
    own_cores: bool = False
    """1: Python stays on the last core. The threads of `ctranslate2` have as many of the first cores as WAYMARK_THREADS
    says. If these are all cores, a thread computes only while Python does not need its core. Fewer refusals are late
    under overload. Only for a service that has its cores to itself: any other busy program stops the engine."""
    vllm_url: Annotated[tuple[str, ...], NoDecode] = ()
    """For the engine `vllm`: addresses of servers that run already, between commas. Without any, Waymark starts one
    server for each checkpoint."""
    vllm_python: Path | None = None
    """For the engine `vllm`: the Python interpreter that has vLLM. Default: that of `./run vllm`."""
    checkpoints: Annotated[dict[str, Path] | None, NoDecode] = None
    """What one service loads, as pairs of name and folder: `default=checkpoints/executor,flat=checkpoints/flat`, or for
    the controller `default=checkpoints/controller,first=checkpoints/first`. A JSON object, `{"default": "FOLDER"}`,
    takes folders whose names hold commas. Default: the checkpoints that ship, and `first` if it exists."""
    max_batch: Annotated[int, Field(ge=1, le=1_024)] = 32
    """The most requests in one batch."""
    max_batch_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 4_096
    """The most input tokens in one batch, padding included. On a GPU use about 32,768."""
    max_wait_ms: Annotated[float, Field(ge=0, le=1_000)] = 5.0
    """Milliseconds that a busy model waits for more requests before it starts a batch. An idle model does not wait."""
    max_queue_seconds: Annotated[float, Field(gt=0, le=3_600)] = 0.5
    """Seconds that a request may have to wait at the present speed for the work before it; more gets 429. One list may
    always wait."""
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = 1_024
    """Requests that may wait, for all models of a service together; more get 429."""
    max_queue_tokens: Annotated[int, Field(ge=1, le=100_000_000)] = 524_288
    """Tokens that all waiting requests may cost; more get 429. Heavy requests take at most half."""
    max_request_tokens: Annotated[int, Field(ge=1, le=100_000_000)] = 163_840
    """Tokens that one request, or one list, may cost; more gets 413. Counted are prompts, answers of full length, and
    candidates with their prompt each time that the engine reads it; a candidate's token counts five times where a T5
    runs on ctranslate2. The default holds 256 candidates of 100 characters beside a prompt of 512 tokens."""
    max_items: Annotated[int, Field(ge=1, le=1_024)] = 64
    """Requests in one list; more get 413. Never more than may wait."""
    max_turns: Annotated[int, Field(ge=0, le=1_000)] = 1_000
    """Turns of one state; more get 422."""
    max_alternatives: Annotated[int, Field(ge=1, le=16)] = 16
    """The largest `n` of a request; more gets 422."""
    max_candidates: Annotated[int, Field(ge=1, le=256)] = 256
    """The most `valid_actions` of a request; more get 422."""
    max_input_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 8_192
    """Tokens of one prompt; more get 413. A prompt over the checkpoint's own limit is truncated, and the answer says
    so."""
    max_body_bytes: Annotated[int, Field(ge=1_024)] = 4_000_000
    """Bytes of a request's body; more get 413."""
    grace_seconds: Annotated[float, Field(ge=0, le=3_600)] = 10.0
    """Seconds that a service takes after SIGTERM to answer what runs and waits."""

    @model_validator(mode="after")
    def _check_own_cores(self) -> Self:
        if self.own_cores and self.engine != "ctranslate2":
            raise ValueError(
                "WAYMARK_OWN_CORES is for WAYMARK_ENGINE=ctranslate2: other engines compute in Python's threads"
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
        secret = isinstance(first["input"], SecretStr) or variable in _UNQUOTED
        value = f"{variable}={'…' if secret else printable(str(first['input']), _SHOWN)}: " if variable else ""
        reason = printable(first["msg"].removeprefix("Value error, "), 2 * _SHOWN)
        raise InvalidInput(f"{value}{reason}.", field=variable) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
