"""A vLLM process that is started here: how it is found, started, watched and ended."""

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
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

from waymark.child_processes.child_process import HOST, Part, wait_until_ready
from waymark.child_processes.python_process import python_command, python_environment
from waymark.command_hints import make_vllm
from waymark.errors import EngineUnavailable, StackError
from waymark.inference.checkpoint import Checkpoint
from waymark.operating_system.cpu_cores import available_cores

ENVIRONMENT: Final = Path(__file__).parents[3] / ".venv-vllm"
"""Where `./run vllm` installs vLLM."""
START_SECONDS: Final = 900.0
"""How long vLLM may take until it answers: it compiles and measures before that."""
SERVER: Final = "vllm.entrypoints.openai.api_server"
HEALTH_SECONDS: Final = 5.0
"""How long a question about a server's health may take."""
_RESTART_SECONDS: Final = 10.0
_NAME_DIGITS: Final = 12
_log = logging.getLogger("waymark")


def served_name(checkpoint: Checkpoint) -> str:
    """The name under which a server must serve a checkpoint."""
    return f"{checkpoint.card.name}@{checkpoint.sha256[:_NAME_DIGITS]}"


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
            *python_command(SERVER, python=str(python)),
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
            with httpx.stream("GET", f"{self.url}/health", timeout=HEALTH_SECONDS, trust_env=False) as response:
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
