"""OpenAI's completions for our models: `/v1/models` and `/v1/completions`, for clients of that API.

A prompt is text as the checkpoint's own prompt format writes it (docs/reference/prompt-formats.md; `/info` names the
format), the completion is the model's text, not parsed. Models decode deterministically: greedily, or with a beam
of `best_of`. Fields that would need sampling or probabilities of the prompt are refused by name, not ignored
(`openai_request`). Without `max_tokens` an answer is as long as the checkpoint allows, not 16 tokens; a text is cut at
4,000 characters. A stream has one chunk for each choice, because computing an answer takes less time than a round trip.

Errors have OpenAI's shape and statuses, translated from our problem documents in one place (`_OpenAIErrors`), so the
code that refuses requests (keys, limits, the queue) does not depend on this API.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus
from itertools import accumulate
from typing import Any, Final, Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waymark.contracts import Contract, Problem
from waymark.errors import InvalidInput, NotFound
from waymark.inference import Candidate
from waymark.inference.batching import Answer, Query, Work
from waymark.serving import request_limits
from waymark.serving.api.json_route import CancelledWhenGone, ClientGone, DeadlineMs
from waymark.serving.api.openai_request import CompletionRequest
from waymark.serving.loaded_models import ServedModel
from waymark.serving.middleware.problem_documents import CLIENT_CLOSED_REQUEST
from waymark.serving.model_server import ModelServer

COMPLETIONS: Final = "/v1/completions"
_MODELS: Final = "/v1/models"
_THEIRS: Final = (COMPLETIONS, _MODELS, "/v1/chat/", "/v1/responses", "/v1/embeddings")
"""Prefixes of the paths that OpenAI's clients call, including paths without a route here."""
_PROBLEM: Final = b"application/problem+json"
_REFUSALS: Final = (400, 401, 404, 413, 429, 500, 503, 504)
_LONGEST_TEXT: Final = 4_000
"""Characters of one choice; fewer where there are many, so that all together have a million."""
_LONGEST_TEXTS: Final = 1_000_000


# --- what crosses the wire ----------------------------------------------------------------------------------------


class LogProbs(Contract):
    """The tokens of one choice; all lists have one entry for each token. The end token is the empty text."""

    tokens: tuple[str, ...]
    token_logprobs: tuple[float, ...]
    """Natural logarithms of the probabilities."""
    top_logprobs: tuple[dict[str, float], ...] | None
    text_offset: tuple[int, ...]
    """In characters, from the start of the choice's text."""


class Choice(Contract):
    """One answer. The answers to one prompt are consecutive, best first."""

    index: int
    text: str
    logprobs: LogProbs | None = None
    finish_reason: Literal["stop", "length"]


class CompletionUsage(Contract):
    """Tokens of one request, all prompts and answers together."""

    prompt_tokens: int
    """Tokens that the model read, after truncation."""
    completion_tokens: int
    """Tokens that it wrote for all `best_of` answers, including end tokens."""
    total_tokens: int
    truncated_tokens: int = 0
    """Tokens that were cut from prompts because they were over the checkpoint's limit. OpenAI has no such field."""


class Completion(Contract):
    """Answer of `POST /v1/completions`, and one chunk of a stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    """Unix seconds."""
    model: str
    system_fingerprint: str | None = None
    """The checkpoint's hash."""
    choices: tuple[Choice, ...]
    usage: CompletionUsage | None = None


class ModelCard(Contract):
    """One loaded checkpoint."""

    id: str
    """The name that requests use."""
    object: Literal["model"] = "model"
    created: int
    """When it was loaded, Unix seconds."""
    owned_by: str = "waymark"
    root: str
    """The checkpoint's own name."""
    max_model_len: int
    """Largest number of prompt tokens that it reads."""


class ModelList(Contract):
    """Answer of `GET /v1/models`."""

    object: Literal["list"] = "list"
    data: tuple[ModelCard, ...]


class ErrorDetail(Contract):
    """What is wrong."""

    message: str
    type: str
    """`invalid_request_error`, `rate_limit_error` or `server_error`."""
    param: str | None
    """Path of the field that is wrong."""
    code: str | None


class ErrorBody(Contract):
    """OpenAI's form of an error."""

    error: ErrorDetail


# --- routes -------------------------------------------------------------------------------------------------------


def install(app: FastAPI, model_server: ModelServer) -> None:
    """Add the routes and the form of their errors to an app. Call it after everything that may refuse a request."""
    app.include_router(_routes(model_server))
    app.add_middleware(_OpenAIErrors)


def _routes(model_server: ModelServer) -> APIRouter:
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorBody, "description": HTTPStatus(status).phrase} for status in _REFUSALS
    }
    router = APIRouter(tags=["openai"], responses=refusals)
    loaded = int(time.time())

    def card(model: ServedModel) -> ModelCard:
        info = model.info
        return ModelCard(id=info.model, created=loaded, root=info.checkpoint, max_model_len=info.max_input_tokens)

    def find(name: str) -> ServedModel:
        if name not in model_server.models:
            raise NotFound(
                f"No model {name!r} is loaded.", remedy=f"Loaded: {', '.join(model_server.models)}.", field="model"
            )
        return model_server.models[name]

    @router.get(_MODELS)
    async def list_models() -> ModelList:
        """The loaded checkpoints."""
        return ModelList(data=tuple(card(model) for model in model_server.models.values()))

    @router.get(_MODELS + "/{model}")
    async def one_model(model: str) -> ModelCard:
        """One loaded checkpoint."""
        return card(find(model))

    @router.post(COMPLETIONS, response_model=Completion)
    async def completions(request: Request, body: CompletionRequest, deadline_ms: DeadlineMs = None) -> Any:
        """A model's continuation of a prompt in its own format, as requested by the official `openai` client."""
        _check(body, model_server)
        try:
            async with CancelledWhenGone(request):
                completion = await _complete(body, find(body.model), model_server, deadline_ms)
        except ClientGone:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        if not body.stream:
            return completion
        usage = body.stream_options is not None and body.stream_options.include_usage
        return StreamingResponse(_chunks(completion, usage=usage), media_type="text/event-stream")

    return router


def _check(request: CompletionRequest, model_server: ModelServer) -> None:
    """Raise InvalidInput for what is over the service's limits."""
    request_limits.check_items(len(request.prompts), model_server.limits)
    if request.width > model_server.limits.alternatives:
        field = "best_of" if request.best_of else "n"
        raise InvalidInput(
            f"{field} is {request.width}, over the limit of {model_server.limits.alternatives}.",
            remedy="/info lists the limits.",
            field=field,
        )


async def _complete(
    request: CompletionRequest, model: ServedModel, model_server: ModelServer, deadline_ms: int | None
) -> Completion:
    name, began = model.info.model, time.monotonic()
    answers = await model_server.ask(
        name, [Work.of(Query(prompt, n=request.width)) for prompt in request.prompts], deadline_ms=deadline_ms
    )
    best = [answer.generation.candidates[: request.n] for answer in answers]
    longest = min(_LONGEST_TEXT, _LONGEST_TEXTS // max(1, sum(map(len, best))))
    if request.logprobs is not None:  # generating tells how likely a whole answer is, scoring each of its tokens
        shown = [tuple(dict.fromkeys(candidate.text[:longest] for candidate in candidates)) for candidates in best]
        works = [
            Work.of(Query(prompt, n=len(texts), candidates=texts))
            for prompt, texts in zip(request.prompts, shown, strict=True)
        ]
        left = None if deadline_ms is None else max(1, deadline_ms - round((time.monotonic() - began) * 1000))
        scored = await model_server.ask(name, works, deadline_ms=left)
        best = [_with_tokens(candidates, answer, longest) for candidates, answer in zip(best, scored, strict=True)]
    generations = [answer.generation for answer in answers]
    read = sum(generation.prompt_tokens for generation in generations)
    wrote = sum(candidate.tokens for generation in generations for candidate in generation.candidates)
    return Completion(
        id=f"cmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=name,
        system_fingerprint=model.info.sha256 or None,
        choices=tuple(
            _choice(index, candidate, model.generator.pieces(candidate.text, prompt), request, model, longest)
            for index, (candidate, prompt) in enumerate(
                (candidate, prompt)
                for candidates, prompt in zip(best, request.prompts, strict=True)
                for candidate in candidates
            )
        ),
        usage=CompletionUsage(
            prompt_tokens=read,
            completion_tokens=wrote,
            total_tokens=read + wrote,
            truncated_tokens=sum(generation.truncated_tokens for generation in generations),
        ),
    )


def _with_tokens(candidates: Sequence[Candidate], scored: Answer, longest: int) -> tuple[Candidate, ...]:
    """The candidates with the log-probability of each token, up to the length of text that an answer may show."""
    known = {candidate.text: candidate.token_logprobs for candidate in scored.generation.candidates}
    return tuple(replace(candidate, token_logprobs=known[candidate.text[:longest]]) for candidate in candidates)


def _choice(
    index: int, candidate: Candidate, pieces: list[str], request: CompletionRequest, model: ServedModel, longest: int
) -> Choice:
    text = candidate.text
    # A model that stops because it may write no more has as many tokens as one whose end token comes last.
    finish: Literal["stop", "length"] = "length" if candidate.tokens >= model.info.max_new_tokens else "stop"
    if request.max_tokens is not None and len(pieces) > request.max_tokens:
        pieces = pieces[: request.max_tokens]
        text, finish = "".join(pieces), "length"
    if len(text) > longest:
        text, finish = text[:longest], "length"
        pieces = _within(pieces, longest)
        pieces[-1] = pieces[-1][: longest - sum(map(len, pieces[:-1]))]
    ends = [place for stop in request.stops if stop and (place := text.find(stop)) >= 0]
    if ends:
        text, finish = text[: min(ends)], "stop"
        pieces = _within(pieces, len(text))
    logprobs = (
        None if request.logprobs is None else _logprobs(pieces, candidate.token_logprobs, top=request.logprobs > 0)
    )
    return Choice(index=index, text=text, finish_reason=finish, logprobs=logprobs)


def _within(pieces: Sequence[str], characters: int) -> list[str]:
    """The pieces that begin within so many characters."""
    starts = accumulate(map(len, pieces), initial=0)
    return [piece for piece, start in zip(pieces, starts, strict=False) if start < characters]


def _logprobs(pieces: Sequence[str], logprobs: Sequence[float], *, top: bool) -> LogProbs:
    likely = tuple(logprobs[: len(pieces)])
    return LogProbs(
        tokens=tuple(pieces),
        token_logprobs=likely,
        top_logprobs=tuple({piece: logprob} for piece, logprob in zip(pieces, likely, strict=True)) if top else None,
        text_offset=tuple(accumulate(map(len, pieces), initial=0))[: len(pieces)],
    )


def _chunks(completion: Completion, *, usage: bool) -> Iterator[str]:
    for choice in completion.choices:
        yield _event(completion.model_copy(update={"choices": (choice,), "usage": None}))
    if usage:
        yield _event(completion.model_copy(update={"choices": ()}))
    yield "data: [DONE]\n\n"


def _event(chunk: Completion) -> str:
    return f"data: {chunk.model_dump_json()}\n\n"


# --- errors -------------------------------------------------------------------------------------------------------

_CODES: Final = {
    400: "invalid_value",
    401: "invalid_api_key",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
    504: "timeout",
}


def error_of(problem: Problem) -> tuple[int, ErrorBody]:
    """A problem as OpenAI states it: the status that its clients know for it, and the body."""
    param = problem.errors[0].field if problem.errors else None
    status, code = problem.status, _CODES.get(problem.status)
    if status == 422:
        status, code = 400, _CODES[400]
    if status == 404 and param == "model":
        code = "model_not_found"
    if status == 413 and param is not None and param.startswith("prompt"):
        status, code = 400, "context_length_exceeded"
    kind = "invalid_request_error" if status < 500 else "server_error"
    kind = "rate_limit_error" if status == 429 else kind
    return status, ErrorBody(error=ErrorDetail(message=problem.detail, type=kind, param=param or None, code=code))


class _OpenAIErrors:
    """Converts problem documents to OpenAI's form on its routes. The outermost middleware, so it sees every refusal."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_THEIRS):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def restate(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                start = message if kind.encode().startswith(_PROBLEM) else None
                if start is None:
                    await send(message)
                return
            if start is None:
                await send(message)
                return
            body += message.get("body", b"")
            if not message.get("more_body", False):
                status, error = error_of(Problem.model_validate_json(body))
                content = error.model_dump_json().encode()
                start["status"] = status
                headers = MutableHeaders(scope=start)
                headers["content-type"] = "application/json"
                headers["content-length"] = str(len(content))
                await send(start)
                await send({"type": "http.response.body", "body": content})

        await self._app(scope, receive, restate)
