"""Garbage collections of a service, each of which stops every thread: what is loaded is frozen, full ones are rare."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

_SERVICE = """
import gc, json, os, signal, sys
from waymark.serving.api.new_app import new_app
from waymark.serving.http_server import COLLECT_RARELY, bind, serve

collected = {0: 0, 1: 0, 2: 0}

def count(phase, details):
    if phase == "start":
        collected[details["generation"]] += 1

def begin():
    gc.callbacks.append(count)
    kept = [[] for _ in range(400_000)]  # Python's default threshold collects all of them at about 170,000
    gc.callbacks.remove(count)
    print(json.dumps({"frozen": gc.get_freeze_count(), "kept": len(kept), "collected": list(collected.values())}))
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGTERM)

collect_after = {"model": COLLECT_RARELY, "other": None}[sys.argv[1]]
serve(new_app("test", 401), bind("127.0.0.1", 0), collect_after=collect_after, begin=begin)
"""


@cache
def counted(kind: str) -> dict[str, list[int] | int]:
    """What a service of that kind counts while it makes 400,000 objects and keeps them."""
    command = [sys.executable, "-c", _SERVICE, kind]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    figures: dict[str, list[int] | int] = json.loads(ended.stdout)
    return figures


def test_a_model_service_collects_nothing_during_requests() -> None:
    figures = counted("model")
    assert figures["collected"] == [0, 0, 0]


def test_other_services_collect_young_objects_alone() -> None:
    figures = counted("other")
    assert isinstance(figures["collected"], list)
    young, middle, full = figures["collected"]
    assert young > 100
    assert middle > 10
    assert full == 0


@pytest.mark.parametrize("kind", ["model", "other"])
def test_what_is_loaded_at_the_start_is_never_collected(kind: str) -> None:
    frozen = counted(kind)["frozen"]
    assert isinstance(frozen, int)
    assert frozen > 50_000
