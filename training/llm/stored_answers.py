"""A chat model with stored answers. Every answer is on disk, under the hash of its request, before it is used. So a run
that was killed continues where it stopped, and a rerun costs nothing.

`waymark.clients.chat` sends the requests and retries them.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio
import httpx
from pydantic import BaseModel, JsonValue, ValidationError

from training.user_files import replacing
from waymark.clients.chat import Answer, ChatClient, Endpoint, Limits, Message, as_json

_Kept = TypeVar("_Kept", bound=BaseModel)


class Exchange(BaseModel):
    """A stored request and its answer."""

    request: dict[str, JsonValue]
    answer: Answer


@dataclass
class Tokens:
    """Tokens of some answers, as counted by the endpoint. `unmetered` is the number of answers without a count."""

    answers: int = 0
    prompt: int = 0
    completion: int = 0
    unmetered: int = 0

    def add(self, answer: Answer) -> None:
        """Count one more answer."""
        self.answers += 1
        self.prompt += answer.prompt_tokens or 0
        self.completion += answer.completion_tokens or 0
        self.unmetered += answer.prompt_tokens is None or answer.completion_tokens is None


@dataclass
class Usage:
    """Tokens of a run: `asked` for new answers, `cached` for stored ones."""

    asked: Tokens = field(default_factory=Tokens)
    cached: Tokens = field(default_factory=Tokens)
    retries: int = 0


class DiskCache(Generic[_Kept]):
    """Values of one kind, each in a JSON file of its own, written whole or not at all."""

    def __init__(self, folder: Path, kind: type[_Kept]) -> None:
        self.folder = folder
        self._kind = kind
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> _Kept | None:
        """The value; None if there is none, or if its file is damaged."""
        try:
            return self._kind.model_validate_json(self._path(key).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def put(self, key: str, value: _Kept) -> None:
        """Store a value."""
        with replacing(self._path(key)) as partial:
            partial.write_text(value.model_dump_json(indent=1), encoding="utf-8")

    def set_aside(self, key: str) -> str:
        """Remove a value, but keep its file under another name for inspection; returns that name."""
        rejected = self._path(key).with_suffix(".rejected.json")
        with suppress(FileNotFoundError):  # two paths may ask the same
            self._path(key).replace(rejected)
        return rejected.name

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


class ChatModel:
    """One model behind one endpoint, with its answers so far in `cache`. A context; `transport` replaces the network.

    `usage` counts what was asked and what was found.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        cache: Path,
        limits: Limits | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.usage = Usage()
        self.answers = DiskCache(cache, Exchange)
        self._client = ChatClient(endpoint, limits, transport, retried=self._count_retry)
        self._asking: dict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    def key(self, content: Mapping[str, JsonValue]) -> str:
        """The hash of a request to this model."""
        asked = {"url": self.endpoint.address, "model": self.endpoint.model, **self.endpoint.parameters, **content}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    async def ask(self, messages: Sequence[Message]) -> tuple[str, Answer]:
        """The answer to a conversation, and the key under which it is stored.

        Raises EndpointUnusable if no request can succeed, else ServiceRejected, ServiceUnavailable or
        DeadlineExceeded for this one.
        """
        content: dict[str, JsonValue] = {"messages": as_json(messages)}
        key = self.key(content)
        async with self._asking[key]:  # paths that are alike wait for one answer
            if known := self.answers.get(key):
                self.usage.cached.add(known.answer)
                return key, known.answer
            answer = await self._client.ask(messages)
            self.answers.put(key, Exchange(request=self._client.request(messages), answer=answer))
            self.usage.asked.add(answer)
            return key, answer

    def _count_retry(self) -> None:
        self.usage.retries += 1
