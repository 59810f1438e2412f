"""Calls into a simulator's JVM by py4j: the jar that it needs there, the connection, and calls that cannot hang."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from importlib.metadata import files
from typing import TypeVar

from py4j.java_gateway import GatewayParameters, JavaGateway, find_jar_path
from py4j.protocol import Py4JError

from waymark.errors import EnvironmentFault
from waymark.worlds.java_process import Jvm
from waymark.worlds.java_watchdog import Watchdog

PLAY_AGAIN = "Play the episode again; it gets a fresh simulator."
"""The remedy of an error after which a simulator is not used again. An evaluation's worker does so by itself, once."""
_QUOTED = 300
"""Characters of Java's own words that an error quotes."""
_T = TypeVar("_T")

# What py4j meets becomes an EnvironmentFault here; its own log would print each again, with several tracebacks.
logging.getLogger("py4j").setLevel(logging.CRITICAL)


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    return f"{os.sep}py4j{os.sep}" not in record.pathname


logging.getLogger().addFilter(_is_not_of_py4j)  # it also writes to the root logger, a traceback for each killed JVM


def py4j_jar() -> str:
    """The jar in py4j's own distribution. py4j itself would search the working directory first."""
    for file in files("py4j") or ():
        if file.name.startswith("py4j") and file.name.endswith(".jar"):
            return os.path.realpath(str(file.locate()))
    return os.path.abspath(str(find_jar_path()))


def connect(jvm: Jvm) -> JavaGateway:
    """A connection to a JVM that has started."""
    return JavaGateway(gateway_parameters=GatewayParameters(port=jvm.port, auth_token=jvm.secret))


def watched_call(function: Callable[[], _T], jvm: Jvm, watchdog: Watchdog) -> _T:
    """Run a call into the JVM under the watchdog, which ends a hung JVM and so unblocks the call.

    Raises EnvironmentFault, with the JVM ended.
    """
    watchdog.expect_answer()
    try:
        return function()
    except (Py4JError, OSError) as error:
        failed = f"failed: {_reason(error)}{jvm.words_if_ended()}"
        reason = f"{watchdog.reason} and was ended" if watchdog.reason else failed
        jvm.end()
        raise EnvironmentFault(f"The {jvm.title} JVM {reason}.", remedy=PLAY_AGAIN) from error
    finally:
        watchdog.answered()


def _reason(error: Exception) -> str:
    """What went wrong, on one line, without Java's list of calls."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not line.startswith("at "))[:_QUOTED].rstrip(".")
