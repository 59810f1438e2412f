"""Signals that ask a command to end: all of them end it as Ctrl-C does."""

from __future__ import annotations

import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeVar

_Result = TypeVar("_Result")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C.

    If a KeyboardInterrupt itself passes through an `eval` or `exec` of a string, as typer and `dataclass` use them,
    `python -m` ends itself by SIGINT in the end, whatever the exit code (CPython's `run_eval_code_obj`). A subclass is
    not affected.
    """


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """A handler of Ctrl-C."""
    raise Interrupted


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process like Ctrl-C, even if a shell's `&` made it ignore Ctrl-C."""

    def as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: as_ctrl_c, signal.SIGHUP: as_ctrl_c}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_async(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """`asyncio.run`, which cancels its tasks on Ctrl-C. It does so only if Python's own handler is in place."""
    import asyncio  # late, since this module is imported before signals are handled

    before = signal.getsignal(signal.SIGINT)
    if before is not interrupt:
        return asyncio.run(coroutine)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return asyncio.run(coroutine)
    finally:
        signal.signal(signal.SIGINT, before)
