"""What Java has learnt about the simulator in an earlier process: classes, loaded and linked, and where time goes.

Java 25 or newer writes that down when a process ends (an ahead-of-time cache: JEP 483, 514, 515), 30 MB, which takes
it some seconds, and starts the next processes from it: they interpret less before they are fast. One process of the
user's writes it, the first that plays long enough; all others read it. A cache belongs to one Java and to its jars as
they are; Java itself looks again whether they fit, and goes without where they do not. Whatever fails here costs the
gain, never an episode. An older Java has no such cache and gets none.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_OLDEST = 25
"""Java's first version that writes a cache in one go, what methods do included."""
_QUIET = "-Xlog:disable"
"""Java would warn of a cache that does not fit, on the stream on which it is to say its port."""


class JavaCache:
    """A cache as one process of Java's sees it: it reads it, or writes it, or does without.

    `folder` is made if need be. `jars` are on the class path of that process.
    """

    def __init__(self, folder: Path, java: str, jars: Sequence[str]) -> None:
        self._lock: int | None = None
        self.options: tuple[str, ...] = ()
        """What Java has to be told."""
        with suppress(OSError):
            home = Path(java).resolve().parents[1]
            release = (home / "release").read_text()
            version = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
            if version is None or int(version[1]) < _OLDEST:
                return
            marks = [f"{jar} {(stat := os.stat(jar)).st_size} {stat.st_mtime_ns}" for jar in jars]
            name = hashlib.sha256("\n".join([str(home), release, *marks]).encode()).hexdigest()[:16]
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = folder / f"java-{name}.aot"
            self._draft = self._file.with_suffix(".draft")
            if self._file.exists():
                self.options = (f"-XX:AOTCache={self._file}", _QUIET)
            elif self._be_the_one_who_writes():
                self.options = (f"-XX:AOTCacheOutput={self._draft}", _QUIET)

    @property
    def writes(self) -> bool:
        """Whether this process writes the cache as it ends."""
        return self._lock is not None

    def close(self, *, whole: bool) -> None:
        """The process has ended; `whole`: in good order, so that what it wrote is for others to read. Idempotent."""
        if self._lock is None:
            return
        with suppress(OSError):
            if whole:
                self._draft.replace(self._file)
            else:
                self._draft.unlink()
        os.close(self._lock)
        self._lock = None

    def _be_the_one_who_writes(self) -> bool:
        """Whether nobody else does; the lock ends with this process."""
        lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True
