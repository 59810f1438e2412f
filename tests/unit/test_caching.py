"""Caches that hold callers' text are bounded in bytes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys

import waymark
from waymark.agent.state import start
from waymark.byte_cache import ByteCache
from waymark.worlds.registry import get_format
from waymark.worlds.scienceworld.prompts import text_normalisation, things_in_sight
from waymark.worlds.scienceworld.rules import action_matching


def test_a_cache_keeps_no_more_bytes_than_its_bound() -> None:
    cache = ByteCache(str.upper, 10_000, sys.getsizeof)
    for number in range(1_000):
        assert cache(f"text {number}") == f"TEXT {number}"
        assert cache.bytes <= 10_000


def test_cached_values_are_reused_and_the_oldest_evicted() -> None:
    calls: list[str] = []

    def make(text: str) -> str:
        calls.append(text)
        return text

    cache = ByteCache(make, 64 * 600, sys.getsizeof)
    for text in ("first", "second", "first"):
        cache(text)
    for number in range(200):
        cache(f"{number}")
    cache("first")
    assert calls[:2] == ["first", "second"]
    assert calls.count("first") == 2


def test_a_text_too_long_for_the_cache_evicts_nothing() -> None:
    cache = ByteCache(str.upper, 100_000, sys.getsizeof)
    cache("short")
    kept = cache.bytes
    cache("x" * 50_000)
    assert cache.bytes == kept


def test_distinct_long_lines_do_not_fill_the_caches() -> None:
    compact = get_format("compact")
    for number in range(40):
        lines = "\n".join(f"{number} {line} " + "a cup, " * 60 for line in range(16))
        look = f"This room is called the kitchen. You see:\n{lines}"
        compact.render("flat", start("Your task is to find a cup.", look, ""))
        action_matching.shortlist("pick up cup", [f"pick up cup {number} " + "x" * 400])
    shared = text_normalisation.plain, things_in_sight._things_in_line
    for cache in (*shared, action_matching._reading, action_matching._words):
        assert 0 < cache.bytes <= 4_000_000


def test_no_other_cache_holds_texts() -> None:
    kept = set()
    for info in pkgutil.walk_packages(waymark.__path__, "waymark."):
        if info.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError:
            continue
        for name, value in vars(module).items():
            ours = getattr(value, "__module__", "").startswith("waymark")
            if ours and hasattr(value, "cache_info") and inspect.signature(value).parameters:
                kept.add(f"{value.__module__}.{name}")
    assert kept == {"waymark.clients.services.retries._url"}, "use waymark.byte_cache, which is bounded in bytes"
