"""The target of a load test: one of our services, identified by its `/info`, or any OpenAI-compatible server.

Requests are written once, before the load begins, so that sending one costs as little as it can.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import aiohttp
from pydantic import BaseModel, Field, ValidationError

from waymark.agent.prompt import write_prompt
from waymark.agent.state import StateFold
from waymark.clients.addresses import shown
from waymark.clients.aiohttp_transport import connections, read_answer
from waymark.clients.answer_limits import AnswerRefused
from waymark.clients.api_key import check_key
from waymark.contracts import MOST_TURNS, ActionRequest, AgentState, DecisionRequest, Problem, Role, SubgoalRequest
from waymark.errors import InvalidInput, ServiceRejected, ServiceUnavailable
from waymark.loadtest.load_loops import Outcome, Send
from waymark.loadtest.load_report import REFUSALS, Target
from waymark.loadtest.sample_states import RecordedState
from waymark.worlds.registry import get_format

Api = Literal["auto", "completions"]
_Answer = TypeVar("_Answer", bound=BaseModel)

_PATHS: Mapping[str, str] = {"controller": "/v1/subgoal", "executor": "/v1/action"}
_COMPLETIONS = "/v1/completions"
_JSON = {"Content-Type": "application/json"}
_FOREIGN_FORMAT = "seed"
"""The prompt format for a server that names none: the published one."""
_COMPLETION_TOKENS = 32
_PROBES = 4


def connect(*, key: str | None, timeout: float) -> aiohttp.ClientSession:
    """A pool of connections that gives each request `timeout` seconds, the wait for a connection included."""
    return aiohttp.ClientSession(
        connector=connections(),
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers={"Authorization": f"Bearer {check_key(key, 'key')}"} if key else None,
        auto_decompress=False,  # `read_answer` does it, within a limit
        skip_auto_headers=("Accept-Encoding",),
    )


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
        path=_COMPLETIONS,
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
        path=_COMPLETIONS if api == "completions" else _PATHS[info.service],
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


def states_for(target: Target, states: Sequence[RecordedState]) -> list[AgentState]:
    """The states at which this kind of service was asked, cut to the turns that it reads, as a worker cuts them."""
    role = "controller" if target.service == "controller" else "executor"
    turns = MOST_TURNS if target.history_turns is None else target.history_turns
    return [StateFold(state.state).visible(turns) for state in states if state.asked == role]


def write_requests(target: Target, states: Sequence[RecordedState], *, seed: int) -> list[bytes]:
    """A request body for each state at which this kind of service was asked, shuffled by the seed."""
    role = "controller" if target.service == "controller" else "executor"
    chosen = states_for(target, states)
    if not chosen:
        raise InvalidInput(
            f"No episode of this run sent a request to the {role}.",
            remedy="Name a run of a hierarchical agent.",
            field="states",
        )
    random.Random(seed).shuffle(chosen)
    return [_body(target, state) for state in chosen]


def _body(target: Target, state: AgentState) -> bytes:
    if target.path == _COMPLETIONS:
        role: Role = "controller" if target.service == "controller" else "executor"
        prompt = write_prompt(get_format(target.prompt_format), role, state)
        document = {"model": target.model, "prompt": prompt, "max_tokens": _COMPLETION_TOKENS, "temperature": 0}
        return json.dumps(document).encode()
    kind: type[DecisionRequest] = SubgoalRequest if target.service == "controller" else ActionRequest
    return kind(state=state, model=target.model).model_dump_json(exclude_defaults=True).encode()


async def probe(session: aiohttp.ClientSession, target: Target, bodies: Sequence[bytes]) -> None:
    """Send a few requests before the test. Raises ServiceRejected if they would never be answered."""
    for body in bodies[:_PROBES]:
        try:
            async with session.post(target.url + target.path, data=body, headers=_JSON) as response:
                text = (await read_answer(response)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, AnswerRefused) as error:
            raise ServiceUnavailable(
                f"{shown(target.url)}{target.path} does not answer: {str(error) or type(error).__name__}.",
                remedy="Read the service's log.",
            ) from error
        if not (response.ok or response.status in REFUSALS):
            raise ServiceRejected(f"{shown(target.url)}{target.path} answers {response.status}: {_reason(text)}")


def sender(session: aiohttp.ClientSession, target: Target, bodies: Sequence[bytes], *, run: str) -> Send:
    """A function that sends request number k under the id `RUN-k` and returns its outcome."""
    url = target.url + target.path
    ours = target.service != "openai"

    async def send(number: int) -> Outcome:
        request_id = f"{run}-{number}"
        headers = {**_JSON, "X-Request-ID": request_id}
        try:
            async with session.post(url, data=bodies[number % len(bodies)], headers=headers) as response:
                await read_answer(response)
        except TimeoutError:
            return "timeout"
        except (aiohttp.ClientError, OSError, AnswerRefused) as error:
            return type(error).__name__
        if ours and response.headers.get("X-Request-ID") != request_id:
            return "another request's answer"
        return response.status

    return send


def _reason(text: str) -> str:
    try:
        return Problem.model_validate_json(text).detail
    except ValidationError:
        return text[:200] or "no reason given."
