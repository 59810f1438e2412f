"""vLLM servers of one checkpoint: started here or elsewhere, watched, and asked over HTTP.

Prompts go to the server with the fewest tokens to read. A server that fails gets no more requests, and its prompts go
to the others. A thread for each server checks its health every second and adds it again. A server is healthy if
`/health` says so and it serves the checkpoint as `NAME@HASH`, with the first digits of the card's hash, so that answers
of other weights are never used.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from waymark.clients import answer_limits
from waymark.clients.addresses import shown
from waymark.clients.read_answer_sync import read
from waymark.errors import EngineUnavailable, ServiceRejected, ServiceUnavailable
from waymark.inference.checkpoint import Checkpoint
from waymark.inference.engines.vllm_process import HEALTH_SECONDS, SERVER, LocalServer, served_name, server_arguments

_CHECK_SECONDS = 1.0
_ANSWER_SECONDS = 120.0
_CONNECT_SECONDS = 5.0
_LARGEST_ANSWER = 256 * answer_limits.MEGABYTE
"""Bytes; the log-probabilities of long prompts take some MB."""
_SHOWN = 300
"""Characters of a server's text that a message quotes."""
_KEEPALIVE_SECONDS = 2.0
"""A connection that was idle for longer is not used again; vLLM closes it after five seconds."""
_GREEDY = {
    "temperature": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
}
"""Parameters of greedy decoding, sent with each request because a server may have other defaults."""
_log = logging.getLogger("waymark")


class _Logprobs(BaseModel):
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]


class _Logprob(BaseModel):
    logprob: float


class Choice(BaseModel):
    """The part of a server's answer to one prompt that is read here."""

    index: int
    token_ids: list[int]
    logprobs: _Logprobs | None = None
    prompt_logprobs: list[dict[int, _Logprob] | None] | None = None

    @property
    def logprob(self) -> float:
        """Of the whole answer. It was asked for with `logprobs`."""
        assert self.logprobs is not None
        return sum(self.logprobs.token_logprobs)

    @property
    def nexts(self) -> dict[int, float]:
        """The log-probabilities of the likeliest first tokens. As many as `logprobs` asked for."""
        assert self.logprobs is not None
        # A token's name is `token_id:NUMBER`.
        return {int(name.rpartition(":")[2]): logprob for name, logprob in self.logprobs.top_logprobs[0].items()}

    def last_of_prompt(self, count: int) -> tuple[float, ...]:
        """The log-probabilities of the prompt's last tokens, asked for with `prompt_logprobs=0`."""
        assert self.prompt_logprobs is not None
        return tuple(token.logprob for known in self.prompt_logprobs[-count:] for token in (known or {}).values())


class _Completion(BaseModel):
    choices: list[Choice]


class _Model(BaseModel):
    id: str
    max_model_len: int | None = None


class _Models(BaseModel):
    data: list[_Model]


@dataclass(slots=True, eq=False)
class _Server:
    url: str
    complaint: str | None = "has not been asked yet"
    """Why it is not healthy; None: it is."""


class Servers:
    """The servers of one checkpoint. One thread at a time calls `complete`. Raises EngineUnavailable if none is
    healthy.

    `local`: a server that this process starts and waits for, in place of `urls`.
    """

    def __init__(self, checkpoint: Checkpoint, urls: Sequence[str], local: LocalServer | None = None) -> None:
        self.model = served_name(checkpoint)
        self.max_tokens: int | None = None
        """Of a prompt and its answer together, as the servers tell."""
        self._local = local
        self._servers = [_Server(url.rstrip("/")) for url in ([local.url] if local else urls)]
        self._client = httpx.Client(
            headers={"accept-encoding": "identity"},
            limits=httpx.Limits(keepalive_expiry=_KEEPALIVE_SECONDS),
            trust_env=False,
        )
        self._senders = ThreadPoolExecutor(len(self._servers), thread_name_prefix="vllm")
        self._closing = threading.Event()
        self._watchers = [
            threading.Thread(target=self._watch, args=(server,), name="vllm-health", daemon=True)
            for server in self._servers
        ]
        for server in self._servers:
            server.complaint = self._examine(server)
        try:
            self.check()
        except ServiceUnavailable as error:
            self.close()
            command = " ".join(["python -m", SERVER, *server_arguments(checkpoint)])
            raise EngineUnavailable(error.message, remedy=f"Start one: {command}") from error
        for watcher in self._watchers:
            watcher.start()

    def complete(self, prompts: Sequence[Sequence[int]], **parameters: Any) -> list[Choice]:
        """The likeliest continuation of each prompt, both in token numbers; `parameters` are vLLM's own.

        Raises ServiceUnavailable when no server is left, ServiceRejected when one refuses the request.
        """
        answers: dict[int, Choice] = {}
        failed: set[_Server] = set()
        while missing := [number for number in range(len(prompts)) if number not in answers]:
            shares = self._share(missing, prompts, failed)
            sent = {
                server: self._senders.submit(self._post, server, [prompts[number] for number in share], parameters)
                for server, share in shares.items()
            }
            for server, future in sent.items():
                choices = future.result()
                if choices is None:
                    failed.add(server)
                else:
                    answers.update(zip(shares[server], choices, strict=True))
        return [answers[number] for number in range(len(prompts))]

    def check(self) -> None:
        """Raise ServiceUnavailable while no server is healthy."""
        if all(server.complaint for server in self._servers):
            raise self._none_is_well()

    def close(self) -> None:
        """Stop watching, and end what was started here. Idempotent."""
        self._closing.set()
        for watcher in self._watchers:
            if watcher.is_alive():
                watcher.join(2 * HEALTH_SECONDS)
        self._senders.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        if self._local is not None:
            self._local.stop()

    def _share(
        self, numbers: Sequence[int], prompts: Sequence[Sequence[int]], failed: set[_Server]
    ) -> dict[_Server, list[int]]:
        """Which server gets which prompts, by the tokens that each has to read. Raises ServiceUnavailable."""
        in_flight = {server: 0 for server in self._servers if server.complaint is None and server not in failed}
        if not in_flight:
            raise self._none_is_well()
        shares: dict[_Server, list[int]] = {}
        for number in numbers:
            least = min(in_flight, key=in_flight.__getitem__)
            in_flight[least] += len(prompts[number])
            shares.setdefault(least, []).append(number)
        return shares

    def _post(
        self, server: _Server, prompts: Sequence[Sequence[int]], parameters: dict[str, Any]
    ) -> list[Choice] | None:
        """The choices for some prompts; None from a server that failed, which is left out from then on."""
        body = {"model": self.model, "prompt": prompts, **_GREEDY, **parameters}
        try:
            response = self._request("POST", f"{server.url}/v1/completions", _ANSWER_SECONDS, json=body)
            if response.is_client_error and response.status_code != HTTPStatus.NOT_FOUND:
                raise ServiceRejected(
                    f"vLLM at {shown(server.url)} refuses a request: {response.text.strip()[:_SHOWN]}",
                    remedy="Start it as docs/guides/serve.md says.",
                )
            choices = _Completion.model_validate_json(response.raise_for_status().content).choices
        except answer_limits.AnswerRefused as error:
            server.complaint = f"sends {error}"
        except httpx.HTTPError as error:
            server.complaint = f"failed at a request ({str(error) or type(error).__name__})"
        except ValidationError:
            server.complaint = "does not answer as vLLM does"
        else:
            return sorted(choices, key=lambda choice: choice.index)
        _log.warning("vLLM at %s %s and is left out until it is well", server.url, server.complaint)
        return None

    def _request(self, method: str, url: str, seconds: float, **options: Any) -> httpx.Response:
        """An answer, within a limit of bytes and of seconds. Raises httpx.HTTPError, AnswerRefused."""
        request = self._client.build_request(
            method, url, timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS), **options
        )
        deadline = answer_limits.Deadline(seconds)
        response = read(self._client.send(request, stream=True), _LARGEST_ANSWER, deadline)
        response.request = request
        return response

    def _watch(self, server: _Server) -> None:
        """Ask the server how it is, again and again."""
        while not self._closing.wait(_CHECK_SECONDS):
            before, server.complaint = server.complaint, self._examine(server)
            if bool(before) != bool(server.complaint):
                _log.warning("vLLM at %s %s", server.url, server.complaint or "is well again")
            if self._local is not None:
                self._local.revive()

    def _examine(self, server: _Server) -> str | None:
        """Why a server is not well. One that was not before must also serve this checkpoint."""
        try:
            self._request("GET", f"{server.url}/health", HEALTH_SECONDS).raise_for_status()
            if server.complaint is None:
                return None
            listed = self._request("GET", f"{server.url}/v1/models", HEALTH_SECONDS).raise_for_status()
            models = {model.id: model for model in _Models.model_validate_json(listed.content).data}
        except answer_limits.AnswerRefused as error:
            return f"sends {error}"
        except httpx.HTTPStatusError as error:
            return f"answers {error.response.status_code} at {error.request.url.path}"
        except httpx.HTTPError as error:
            return f"cannot be reached ({str(error) or type(error).__name__})"
        except ValidationError:
            return "does not answer as vLLM does"
        if self.model not in models:
            return f"serves {', '.join(models)[:_SHOWN]}"
        self.max_tokens = models[self.model].max_model_len
        return None

    def _none_is_well(self) -> ServiceUnavailable:
        complaints = "; ".join(f"{shown(server.url)} {server.complaint}" for server in self._servers)
        return ServiceUnavailable(f"No vLLM server serves {self.model}: {complaints}.", remedy="Try again later.")
