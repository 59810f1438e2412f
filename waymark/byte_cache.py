"""A cache with a limit in bytes, for results that contain callers' texts. A limit on entries would not limit memory."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Value = TypeVar("_Value")
_ENTRY_BYTES = 200
"""Bytes of an entry besides its texts: its place in the table, and its weight."""
_LARGEST_SHARE = 64
"""Largest share of the limit for one entry. A longer text is not kept, so that it does not displace others."""


class ByteCache(Generic[_Value]):
    """Remembers what a pure function makes of a text, at most `max_bytes` of texts and results. Thread-safe.

    `weigh` is how many bytes a result takes. The oldest entry goes first.
    """

    def __init__(self, compute: Callable[[str], _Value], max_bytes: int, weigh: Callable[[_Value], int]) -> None:
        self._compute = compute
        self._max_bytes = max_bytes
        self._weigh = weigh
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[_Value, int]] = {}
        self.bytes = 0
        """What the entries take, about."""

    def __call__(self, text: str) -> _Value:
        """The result for a text."""
        entry = self._entries.get(text)
        if entry is not None:
            return entry[0]
        value = self._compute(text)
        size = sys.getsizeof(text) + self._weigh(value) + _ENTRY_BYTES
        if size * _LARGEST_SHARE <= self._max_bytes:
            with self._lock:
                if text not in self._entries:
                    self._entries[text] = (value, size)
                    self.bytes += size
                while self.bytes > self._max_bytes:
                    self.bytes -= self._entries.pop(next(iter(self._entries)))[1]
        return value
