"""The executor with some of its tuning left out: what `benchmarks.tuning` measures against the executor as it ships.

    BENCHMARK_OFF=niceness,slices,one-write,two-batches python -m benchmarks.tuned_executor

The product has no switches for these; they are taken out here, before the service starts.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from services.executor.__main__ import main
from waymark.inference.engines.ctranslate2 import CTranslate2Generator
from waymark.serving import http_server
from waymark.serving.middleware import one_write

SWITCHES: Final = ("niceness", "slices", "one-write", "two-batches")


def turn_off(name: str) -> None:
    """Take one part of the tuning out of this process."""
    if name == "niceness":  # threads of the engine have the priority of Python's
        _replace(http_server, "put_python_first", lambda **_: None)
    elif name == "slices":  # all threads have the kernel's own time slices
        _replace(http_server, "shorten_slices", lambda: None)
    elif name == "one-write":  # uvicorn writes head and body apart
        _replace(one_write.OneWrite, "write", _write_now)
    elif name == "two-batches":  # the engine computes one batch at a time
        _replace(CTranslate2Generator, "parallel_batches", 1)
    else:
        raise SystemExit(f"Unknown switch {name!r}; known are {', '.join(SWITCHES)}.")


def _write_now(writer: one_write.OneWrite, data: bytes) -> None:
    writer._transport.write(data)


def _replace(module: object, name: str, value: object) -> None:
    if not hasattr(module, name):
        raise SystemExit(f"{module} has no {name} any more: adapt benchmarks/tuned_executor.py.")
    setattr(module, name, value)


if __name__ == "__main__":
    for switch in filter(None, os.environ.get("BENCHMARK_OFF", "").split(",")):
        turn_off(switch)
    sys.argv[0] = "services.executor"
    main()
