"""Stops on a signal: a command at once, a training run after its current update, so that its state is saved first.

Ctrl-C ends a command by SystemExit, not by KeyboardInterrupt. If a KeyboardInterrupt passes through an `eval` or `exec`
of a string (typer reads annotations so, and `dataclass` makes methods so), `python -m` ends itself by SIGINT in the
end, also after the exception was handled (CPython's `run_eval_code_obj`). Nobody then gets the exit code 130.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeVar

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SAME_WISH_SECONDS: Final = 1.0
"""Signals within so many seconds count as one, because a launcher passes on a Ctrl-C that its processes got already."""
_received: list[tuple[int, float]] = []
"""Each signal that asked for an end, and when it came."""
_Result = TypeVar("_Result")


class StopAtOnce(KeyboardInterrupt):
    """A second signal. A class of its own, because a KeyboardInterrupt itself may change the exit code (see above)."""


def end_on_signals() -> None:
    """End this process on SIGINT (Ctrl-C), SIGTERM and SIGHUP with exit code 128 + number, after `finally` blocks have
    removed half-written files.

    Signals that this process ignores stay ignored.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)
    atexit.register(_ignore_signals)  # first, so that it is called last


def end_at_once() -> None:
    """From now on end on signals without an exception. Call it last: an exception while the interpreter ends is printed
    with its traceback."""
    for number in _SIGNALS:
        if signal.getsignal(number) is _end:
            signal.signal(number, lambda number, _: os._exit(128 + number))


def received() -> int | None:
    """The first signal that has come since `end_on_signals`, if there was one.

    The exception of a signal may be lost, because an interrupted library may raise an error of its own instead.
    """
    return _received[0][0] if _received else None


def run_async(function: Callable[[], Awaitable[_Result]]) -> _Result:
    """`anyio.run`, in which a signal cancels the tasks, so that each can clean up. Raises SystemExit after that."""
    import asyncio

    import anyio

    results: list[_Result] = []
    stop = Interruption()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with anyio.CancelScope() as scope:
            stop.report = lambda _: loop.call_soon_threadsafe(scope.cancel)
            with stop:
                results.append(await function())

    try:
        anyio.run(run)
    except Exception:  # an interrupted connection may end with an error of its own
        if stop.signal is None:
            raise
    if stop.signal is not None:
        sys.exit(stop.exit_code)
    return results[0]


def _ignore_signals() -> None:
    """The interpreter soon sets handlers back to the default, by which a second signal itself would end the process."""
    for number in _SIGNALS:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_IGN)


def _end(number: int, _: FrameType | None) -> None:
    since = time.monotonic()
    is_repeated = bool(_received) and since - _received[-1][1] <= _SAME_WISH_SECONDS
    if not is_repeated:
        _received.append((number, since))
        sys.exit(128 + number)


class Interruption:
    """Notes SIGINT (Ctrl-C), SIGTERM and SIGHUP while its block lasts; use it in the main thread.

    The first signal only sets `signal`, so nothing is cut off half-way. A second one raises StopAtOnce.
    Signals that this process ignores stay ignored: `nohup` and background jobs of a shell rely on that.
    `report` is called with the name of the first signal.
    """

    def __init__(self, report: Callable[[str], object] = lambda _: None) -> None:
        self.signal: int | None = None
        self.report = report
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
                raise StopAtOnce
            return
        self.signal, self._since = number, time.monotonic()
        _received.append((number, self._since))
        self.report(signal.Signals(number).name)
