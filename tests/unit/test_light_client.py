"""A caller of the services needs httpx and pydantic alone, and its plain clients are those that are generated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from waymark.clients.answer_limits import AnswerRefused
from waymark.clients.services.events import EventDecoder, ServerEvent

ROOT = Path(__file__).parents[2]
ALONE = """
import importlib.metadata as metadata, re, sys

installed = {name.lower().replace("_", "-") for names in metadata.packages_distributions().values() for name in names}

def needed_by(name, found):
    if name not in found:
        found.add(name)
        for requirement in metadata.requires(name) or ():
            needed = re.match("[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")
            if "extra ==" not in requirement and needed in installed:
                needed_by(needed, found)
    return found

allowed = needed_by("httpx", set()) | needed_by("pydantic", set())
belongs = metadata.packages_distributions()

class Blocked:
    def find_spec(self, name, path=None, target=None):
        owners = belongs.get(name.partition(".")[0], [])
        if owners and not {owner.lower().replace("_", "-") for owner in owners} & (allowed | {"waymark-agents"}):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
import httpx
from waymark.clients.services import SyncControllerClient, SyncEvaluationClient
from waymark.contracts import AgentState

answer = {"subgoal": "wait(1)", "alternatives": [], "model": "default",
          "usage": {"prompt_tokens": 1, "completion_tokens": 1}, "timing_ms": {"queue": 0, "model": 0, "total": 0}}
transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer))
with SyncControllerClient("http://c", transport=transport) as client:
    print(client.subgoal(AgentState(task="boil water", look="a kitchen")).subgoal)
try:
    import numpy
except ModuleNotFoundError as error:
    print(error)
"""


def test_a_light_client_needs_httpx_and_pydantic_alone() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["wait(1)", "numpy is blocked"], done.stderr


def test_the_plain_clients_are_generated_from_those_for_asyncio() -> None:
    done = subprocess.run(
        [sys.executable, ".ci/unasync", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_events_are_the_same_however_the_stream_is_cut(size: int, end: str) -> None:
    lines = ("id: 7", "event: status", "data: grün", "data:two", "", ": alive", "", "data", "", "retry: 5", "data: x")
    stream = end.join(lines).encode()
    decoder = EventDecoder()
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    events = [event for piece in pieces for event in decoder.feed(piece)]
    assert events == [ServerEvent("status", "grün\ntwo", "7"), ServerEvent("message", "", "7")]


def test_an_endless_event_is_refused() -> None:
    decoder = EventDecoder(largest=2**20)
    line = b"data: " + b"x" * 2**16 + b"\n"
    assert list(decoder.feed(line * 15)) == []
    with pytest.raises(AnswerRefused, match="more than 1 MB"):
        list(decoder.feed(line * 5))
