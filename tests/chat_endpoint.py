"""A chat endpoint without a network, and the model behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx

from training.llm.stored_answers import ChatModel
from waymark.clients.chat import Endpoint, Limits, Message

KEY = "sk-secret"
HELLO: list[Message] = [{"role": "user", "content": "hello"}]
Handler = Callable[[httpx.Request], httpx.Response]


def completion(text: str, finish_reason: str = "stop") -> httpx.Response:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return httpx.Response(200, json={"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})


def chat(handler: Handler, cache: Path, limits: Limits | None = None) -> ChatModel:
    return ChatModel(Endpoint("http://model/v1", "large", KEY), cache, limits, httpx.MockTransport(handler))


def answering(*responses: httpx.Response) -> tuple[Handler, list[httpx.Request]]:
    """A handler that gives these responses in turn, and the requests that it has seen."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return responses[len(seen) - 1]

    return handle, seen
