"""vLLM servers of one checkpoint: started here or elsewhere, watched, and asked over HTTP.

Prompts go to the server with the fewest tokens to read. A server that fails gets no more requests, and its prompts go
to the others. A thread for each server checks its health every second and adds it again. A server is healthy if
`/health` says so and it serves the checkpoint as `NAME@HASH`, with the first digits of the card's hash, so that answers
of other weights are never used.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from waymark.cli.local_stack import HOST, Part, wait_until_ready
from waymark.cli.python_process import python_command, python_environment
from waymark.clients import bounded
from waymark.clients.addresses import shown
from waymark.clients.reading_sync import read
from waymark.errors import EngineUnavailable, ServiceRejected, ServiceUnavailable, StackError
from waymark.hints import make_vllm
from waymark.inference.checkpoint import Checkpoint
from waymark.process import available_cores

ENVIRONMENT = Path(__file__).parents[3] / ".venv-vllm"
"""Where `./run vllm` installs vLLM."""
START_SECONDS = 900.0
"""How long vLLM may take until it answers: it compiles and measures before that."""
_CHECK_SECONDS = 1.0
_RESTART_SECONDS = 10.0
_ANSWER_SECONDS = 120.0
_CONNECT_SECONDS = 5.0
_LARGEST_ANSWER = 256 * bounded.MEGABYTE
"""Bytes; the log-probabilities of long prompts take some MB."""
_SHOWN = 300
"""Characters of a server's text that a message quotes."""
_HEALTH_SECONDS = 5.0
_KEEPALIVE_SECONDS = 2.0
"""A connection that was idle for longer is not used again; vLLM closes it after five seconds."""
_NAME_DIGITS = 12
_SERVER = "vllm.entrypoints.openai.api_server"
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


def served_name(checkpoint: Checkpoint) -> str:
    """The name under which a server must serve a checkpoint."""
    return f"{checkpoint.card.name}@{checkpoint.sha256[:_NAME_DIGITS]}"


# --- one that is started here -------------------------------------------------------------------------------------


class LocalServer:
    """A vLLM process of our own on loopback, which ends with this process. Start it from a thread that stays."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        python: Path,
        *,
        device: str,
        dtype: str,
        threads: int,
        prefix_caching: bool = True,
    ) -> None:
        platform = _platform(python)
        if device not in ("auto", platform):
            raise EngineUnavailable(
                f"WAYMARK_DEVICE is {device!r}, but the vLLM of {python} runs on {platform}.",
                remedy="Name the Python of a vLLM for that device in WAYMARK_VLLM_PYTHON, or use WAYMARK_DEVICE=auto.",
            )
        self.dtype = ("float32" if platform == "cpu" else "bfloat16") if dtype == "auto" else dtype
        with socket.create_server((HOST, 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://{HOST}:{port}"
        self.log = Path(tempfile.gettempdir(), f"waymark-vllm-{checkpoint.card.role}-{port}.log")
        self._command = [
            *python_command(_SERVER, python=str(python)),
            *("--host", HOST, "--port", str(port)),
            *server_arguments(checkpoint),
            *("--dtype", self.dtype, "--uvicorn-log-level", "warning"),
        ]
        if platform == "cpu":
            self._command.append("--enforce-eager")  # compiling takes minutes and a compiler
        if not prefix_caching:
            self._command.append("--no-enable-prefix-caching")  # the last of the two counts
        kept = python_environment(with_packages=False)
        kept.pop("VIRTUAL_ENV", None)
        self._environment = {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            **kept,
            "OMP_NUM_THREADS": str(threads or available_cores()),
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }
        self._part: Part | None = None
        self._started = 0.0

    def start(self) -> None:
        """Start the process, which then takes a minute or so until it answers."""
        self._started = time.monotonic()
        self._part = Part("vLLM", self._command, self._environment, self.log)
        _log.info("vLLM (process %d) starts at %s; its log is %s", self._part.process.pid, self.url, self.log)

    def wait(self) -> None:
        """Until it answers. Raises EngineUnavailable when it ends instead, or is not there in time."""
        assert self._part is not None
        try:
            wait_until_ready([self._part], self._answers, "vLLM", seconds=START_SECONDS)
        except StackError as error:
            cause = _cause(self.log) if self._part.process.poll() is not None else None
            self.stop()
            message = f"{error.message} It says: {cause}" if cause else error.message
            raise EngineUnavailable(message, remedy=f"Its log is {self.log}") from error

    def revive(self) -> None:
        """Start the process again if it has ended, but not at once if it has just been started."""
        assert self._part is not None
        if self._part.process.poll() is not None and time.monotonic() > self._started + _RESTART_SECONDS:
            _log.error("vLLM at %s has ended and is started again; its log is %s", self.url, self.log)
            self.stop()
            self.start()

    def stop(self) -> None:
        """End the process and what it has started, which stays if it does not end in order. Idempotent."""
        if self._part is not None:
            self._part.stop()
            with suppress(ProcessLookupError):
                os.killpg(self._part.process.pid, signal.SIGKILL)

    def _answers(self) -> bool:
        try:
            with httpx.stream("GET", f"{self.url}/health", timeout=_HEALTH_SECONDS, trust_env=False) as response:
                return response.is_success  # its body is not read
        except httpx.HTTPError:
            return False


def server_arguments(checkpoint: Checkpoint) -> list[str]:
    """What any vLLM server of a checkpoint is started with. Tokens go in and come out, so it needs no tokenizer."""
    card = checkpoint.card
    # Candidates that are scored may be longer than answers; but no model reads further than its positions.
    positions = json.loads((checkpoint.folder / "config.json").read_text()).get("max_position_embeddings", math.inf)
    max_tokens = min(card.max_input_tokens + 2 * card.max_new_tokens, positions)
    return [
        *("--model", str(checkpoint.folder.resolve())),
        *("--served-model-name", served_name(checkpoint)),
        *("--load-format", "safetensors"),
        *("--generation-config", "vllm"),
        *("--max-model-len", str(max_tokens)),
        "--skip-tokenizer-init",
        "--enable-prefix-caching",
    ]


def find_python(named: Path | None) -> Path:
    """The Python of a vLLM environment: the one that is named, else that of `./run vllm`. Raises EngineUnavailable."""
    python = named or ENVIRONMENT / "bin" / "python"
    if os.access(python, os.X_OK):
        return python
    if named:
        raise EngineUnavailable(
            f"WAYMARK_VLLM_PYTHON names {named}, which is no program.",
            remedy="Name the python of an environment in which vLLM is installed.",
        )
    raise EngineUnavailable(
        "The vllm engine needs vLLM, which has an environment of its own.",
        remedy=f"{make_vllm()}, name the python of another in WAYMARK_VLLM_PYTHON, "
        "or name running servers in WAYMARK_VLLM_URL.",
    )


_PROBE = """
from importlib import metadata, util
if not util.find_spec("vllm"):
    raise SystemExit("no package vllm")
print("cpu" if metadata.version("torch").endswith("+cpu") else "cuda")
"""


def _platform(python: Path) -> str:
    """What the vLLM of an environment runs on: `cpu` or `cuda`. Raises EngineUnavailable."""
    environment = python_environment(with_packages=False)
    done = subprocess.run([python, "-P", "-c", _PROBE], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it gives no reason"])[-1]
        raise EngineUnavailable(
            f"{python} has no vLLM to start: {reason}.",
            remedy=f"{make_vllm()}, or name the python of another in WAYMARK_VLLM_PYTHON.",
        )
    return done.stdout.strip()


def _cause(log: Path) -> str | None:
    """The first error in a log; later ones are its consequences."""
    text = log.read_text(errors="replace") if log.exists() else ""
    error_line = re.search(r"(?:^|[)\]] )(\w*Error: .+)$", text, re.MULTILINE)  # behind the process or the line of code
    return error_line[1] if error_line else None


# --- all of them --------------------------------------------------------------------------------------------------


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
            command = " ".join(["python -m", _SERVER, *server_arguments(checkpoint)])
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
            raise self._gone()

    def close(self) -> None:
        """Stop watching, and end what was started here. Idempotent."""
        self._closing.set()
        for watcher in self._watchers:
            if watcher.is_alive():
                watcher.join(2 * _HEALTH_SECONDS)
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
            raise self._gone()
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
        except bounded.AnswerRefused as error:
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
        deadline = bounded.Deadline(seconds)
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
            self._request("GET", f"{server.url}/health", _HEALTH_SECONDS).raise_for_status()
            if server.complaint is None:
                return None
            listed = self._request("GET", f"{server.url}/v1/models", _HEALTH_SECONDS).raise_for_status()
            models = {model.id: model for model in _Models.model_validate_json(listed.content).data}
        except bounded.AnswerRefused as error:
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

    def _gone(self) -> ServiceUnavailable:
        complaints = "; ".join(f"{shown(server.url)} {server.complaint}" for server in self._servers)
        return ServiceUnavailable(f"No vLLM server serves {self.model}: {complaints}.", remedy="Try again later.")
