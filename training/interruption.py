"""Stops on a signal: a command at once, a training run after its current update, so that its state is saved first."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SAME_WISH_SECONDS: Final = 1.0
"""Signals within so many seconds count as one, because a launcher passes on a Ctrl-C that its processes got already."""
_received: list[int] = []
_reads: list[int] = []
"""The file descriptor from which signal numbers are read."""


def end_on_signals() -> None:
    """End this process on SIGTERM and SIGHUP as on Ctrl-C, so that half-written files are removed.

    Signals that this process ignores stay ignored.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    if (
        os.name == "posix"
    ):  # the interpreter notes each signal there, whoever handles it: asyncio needs Ctrl-C's handler
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        _reads.append(read)


def received() -> int | None:
    """The first signal that has come since `end_on_signals`, if there was one.

    The exception of a signal may be lost, because an interrupted library may raise an error of its own instead.
    """
    with suppress(BlockingIOError):
        for read in _reads:
            _received.extend(os.read(read, 1))
    return _received[0] if _received else None


def _end(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


class Interruption:
    """Notes SIGINT (Ctrl-C), SIGTERM and SIGHUP while its block lasts; use it in the main thread.

    The first signal only sets `signal`, so nothing is cut off half-way. A second one raises KeyboardInterrupt.
    Signals that this process ignores stay ignored: `nohup` and background jobs of a shell rely on that.
    `report` is called with the name of the first signal.
    """

    def __init__(self, report: Callable[[str], None] = lambda _: None) -> None:
        self.signal: int | None = None
        self._report = report
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def exit_code(self) -> int:
        """The exit code after a signal: 128 + its number; 0 without a signal."""
        return 0 if self.signal is None else 128 + self.signal

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            if time.monotonic() - self._since > _SAME_WISH_SECONDS:
                raise KeyboardInterrupt
            return
        self.signal, self._since = number, time.monotonic()
        self._report(signal.Signals(number).name)
