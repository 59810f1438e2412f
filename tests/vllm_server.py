"""A server that speaks the part of vLLM's protocol that is used, over a model that fits on a page."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def next_logprobs(tokens: Sequence[int], vocabulary: int) -> list[float]:
    """Of each token after others: some distribution that depends on the last two."""
    before = sum(token * weight for token, weight in zip(tokens[-2:], (3, 7), strict=False))
    logits = [math.sin(1.7 * before + 2.3 * token) * 2 for token in range(vocabulary)]
    total = math.log(sum(math.exp(logit) for logit in logits))
    return [logit - total for logit in logits]


END = 1


@dataclass
class FakeVllm:
    """What the server does, and what it was asked."""

    model: str
    vocabulary: int
    max_model_len: int | None = 64
    status: int = 200
    """Other than 200: what it answers to everything."""
    only_completions_fail: bool = False
    asked: list[list[list[int]]] = field(default_factory=list)
    """The prompts of each request."""
    url: str = ""

    def get(self, path: str) -> dict[str, Any]:
        """`/health` and `/v1/models`."""
        return {"data": [{"id": self.model, "max_model_len": self.max_model_len}]} if path == "/v1/models" else {}

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """`/v1/completions`: greedy, token numbers in and out."""
        self.asked.append(request["prompt"])
        return {"choices": [self._choice(index, prompt, request) for index, prompt in enumerate(request["prompt"])]}

    def _choice(self, index: int, prompt: list[int], request: dict[str, Any]) -> dict[str, Any]:
        tokens: list[int] = []
        logprobs: list[float] = []
        tops: list[dict[str, float]] = []
        while len(tokens) < request["max_tokens"] and tokens[-1:] != request.get("stop_token_ids", [None]):
            known = dict(enumerate(next_logprobs([*prompt, *tokens], self.vocabulary)))
            ranked = sorted(known, key=known.__getitem__, reverse=True)
            tokens.append(ranked[0])
            logprobs.append(known[ranked[0]])
            tops.append({f"token_id:{token}": known[token] for token in ranked[: max(1, request.get("logprobs", 0))]})
        choice: dict[str, Any] = {"index": index, "text": "not looked at", "token_ids": tokens}
        if "logprobs" in request:
            choice["logprobs"] = {"token_logprobs": logprobs, "top_logprobs": tops}
        if "prompt_logprobs" in request:
            choice["prompt_logprobs"] = [None] + [
                {str(token): {"logprob": next_logprobs(prompt[:place], self.vocabulary)[token], "rank": 1}}
                for place, token in enumerate(prompt[1:], start=1)
            ]
        return choice


@contextmanager
def serve_fake_vllm(fake: FakeVllm, port: int = 0) -> Iterator[FakeVllm]:
    """Serve it on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200 if fake.only_completions_fail else fake.status, fake.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if fake.status == 200:
                self._answer(200, fake.complete(body))
            else:
                self._answer(fake.status, {"error": {"message": "I am not well"}})

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
