"""The target of a load test: one of our services, identified by its `/info`, or any OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

import aiohttp
from pydantic import BaseModel, Field, ValidationError

from waymark.clients.addresses import shown
from waymark.clients.aiohttp_transport import read_answer
from waymark.clients.answer_limits import AnswerRefused
from waymark.errors import InvalidInput, ServiceUnavailable
from waymark.loadtest.load_report import Target
from waymark.worlds.registry import get_format

Api = Literal["auto", "completions"]
_Answer = TypeVar("_Answer", bound=BaseModel)

_PATHS: Mapping[str, str] = {"controller": "/v1/subgoal", "executor": "/v1/action"}
COMPLETIONS = "/v1/completions"
_FOREIGN_FORMAT = "seed"
"""The prompt format for a server that names none: the published one."""


class _Checkpoint(BaseModel):
    model: str
    checkpoint: str
    prompt_format: str
    engine: str
    dtype: str


class _Info(BaseModel):
    """The part of `/info` that matters here; a service of another version may say more."""

    service: str
    version: str
    checkpoints: tuple[_Checkpoint, ...] = ()
    history_turns: int | None = None


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: tuple[_Model, ...] = Field(min_length=1)


async def find(session: aiohttp.ClientSession, url: str, *, api: Api, model: str | None) -> Target:
    """The server at the URL. Raises ServiceUnavailable, InvalidInput, ServiceRejected."""
    base = url.rstrip("/").removesuffix("/v1")
    if not base.startswith(("http://", "https://")):
        raise InvalidInput(f"{shown(url)!r} is no URL.", remedy="Give one such as http://127.0.0.1:8002.", field="url")
    info = await _read(session, f"{base}/info", _Info)
    if info is not None:
        return _ours(base, info, api=api, model=model)
    models = await _read(session, f"{base}/v1/models", _Models)
    if models is None:
        raise InvalidInput(
            f"{shown(base)} has neither /info nor /v1/models.",
            remedy="Give the URL of a controller, an executor or an OpenAI-compatible server, and --key if needed.",
            field="url",
        )
    named = model or models.data[0].id
    return Target(
        url=base,
        service="openai",
        path=COMPLETIONS,
        model=named,
        prompt_format=_FOREIGN_FORMAT,
        history_turns=get_format(_FOREIGN_FORMAT).history_turns,
    )


def _ours(base: str, info: _Info, *, api: Api, model: str | None) -> Target:
    if info.service not in _PATHS:
        raise InvalidInput(
            f"{shown(base)} is the {info.service}, which makes no decisions.",
            remedy="Give the URL of its controller or executor.",
            field="url",
        )
    named = model or "default"
    served = next((checkpoint for checkpoint in info.checkpoints if checkpoint.model == named), None)
    if served is None:
        loaded = ", ".join(checkpoint.model for checkpoint in info.checkpoints)
        raise InvalidInput(
            f"The {info.service} has no model {named!r}.", remedy=f"It has loaded: {loaded}.", field="model"
        )
    return Target(
        url=base,
        service=info.service,
        path=COMPLETIONS if api == "completions" else _PATHS[info.service],
        model=named,
        version=info.version,
        checkpoint=served.checkpoint,
        engine=f"{served.engine} {served.dtype}",
        prompt_format=served.prompt_format,
        history_turns=info.history_turns,
    )


async def _read(session: aiohttp.ClientSession, url: str, kind: type[_Answer]) -> _Answer | None:
    """The document there, or None where there is none of that kind."""
    try:
        async with session.get(url) as response:
            body = await read_answer(response)
    except (aiohttp.ClientError, OSError, AnswerRefused) as error:
        raise ServiceUnavailable(
            f"Nothing answers at {shown(url)}: {str(error) or type(error).__name__}.",
            remedy="Check that the service runs and that the address is right.",
        ) from error
    try:
        return kind.model_validate_json(body) if response.ok else None
    except ValidationError:
        return None
