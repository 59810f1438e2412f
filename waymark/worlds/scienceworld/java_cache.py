"""Java's ahead-of-time cache of the simulator: loaded and linked classes and profiles of an earlier process.

Java 25 or newer can write such a cache when a process ends (JEP 483, 514, 515). The file has 30 MB and takes some
seconds to write. Later processes start from it and spend less time interpreting.

- Only one process of a user writes the cache: the first one that plays long enough. All others read it.
- A cache belongs to one Java and the present content of its jars. Java checks this too, and ignores a cache that does
  not fit.
- A checksum beside the cache is compared before each use. A cache that is damaged, or that another user can have
  written, is not used: it is deleted where possible, and the log says so once.
- A cache is written to the disk (fsync) before it gets its name, so a crash leaves no half of one.

A failure here only costs the time that the cache would save, never an episode. An older Java gets no cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_OLDEST = 25
"""Java's first version that writes a cache in one go, what methods do included."""
_QUIET = "-Xlog:disable"
"""Options that stop Java from warning of a cache that does not fit, on the stream on which it prints its port."""
_ROOT = 0
_log = logging.getLogger(__name__)
_reported: set[str] = set()
"""Messages that were already logged."""


class JavaCache:
    """The cache for one Java process, which reads it, writes it, or runs without it.

    `folder` is made if need be. `jars` are on the class path of that process.
    """

    def __init__(self, folder: Path, java: str, jars: Sequence[str]) -> None:
        self._lock: int | None = None
        self.options: tuple[str, ...] = ()
        """Options for Java's command line."""
        self.reads = False
        """Whether the process starts from a cache."""
        try:
            self._prepare(folder, java, jars)
        except OSError as error:
            _report(f"Simulators keep no cache in {folder}: {error.strerror or error}.")

    def _prepare(self, folder: Path, java: str, jars: Sequence[str]) -> None:
        home = Path(java).resolve().parents[1]
        try:
            release = (home / "release").read_text(errors="replace")
        except OSError:  # a Java that does not tell its version
            return
        version = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
        if version is None or int(version[1]) < _OLDEST:
            return
        marks = [f"{jar} {(status := os.stat(jar)).st_size} {status.st_mtime_ns}" for jar in jars]
        name = hashlib.sha256("\n".join([str(home), release, *marks]).encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = folder / f"java-{name}.aot"
        self._checksum = self._file.with_suffix(".sha256")
        self._draft = folder / f"java-{name}-{os.getpid()}-{secrets.token_hex(4)}.draft"
        if _foreign(folder):
            _report(f"Simulators keep no cache in {folder}: other users can write there.")
        elif self._usable():
            self.options, self.reads = (f"-XX:AOTCache={self._file}", _QUIET), True
        elif not self._file.exists() and self._claim_writing():
            self.options = (f"-XX:AOTCacheOutput={self._draft}", _QUIET)

    @property
    def writes(self) -> bool:
        """Whether this process writes the cache as it ends."""
        return self._lock is not None

    def close(self, *, whole: bool) -> None:
        """Call this after the process has ended. `whole`: it ended normally, so the cache that it wrote can be used.
        Idempotent.
        """
        if self._lock is None:
            return
        try:
            if whole:
                self._publish()
        except OSError as error:
            _report(f"The simulator's cache {self._file} was not written: {error.strerror or error}.")
        finally:
            self._remove_drafts(self._draft.name)
            os.close(self._lock)
            self._lock = None

    def discard(self, reason: str) -> None:
        """Delete the cache, so that neither this process nor another starts from it."""
        self.options, self.reads = (), False
        try:
            self._file.unlink(missing_ok=True)
            self._checksum.unlink(missing_ok=True)
        except OSError as error:
            _report(f"The simulator's cache {self._file} is not used: {reason}. Delete it ({error.strerror or error}).")
        else:
            _report(f"The simulator's cache {self._file} was deleted: {reason}. The next one is written anew.")

    def _usable(self) -> bool:
        """Whether there is a cache and it is whole. One that is not is deleted."""
        try:
            if _foreign(self._file):
                _report(f"The simulator's cache {self._file} is not used: another user can have written it.")
                return False
            if not stat.S_ISREG(self._file.stat().st_mode):
                self.discard("it is no file")
                return False
            with self._file.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return False
        except OSError as error:
            self.discard(f"it cannot be read ({error.strerror or error})")
            return False
        try:
            expected = self._checksum.read_text(errors="replace").strip()
        except OSError:
            self.discard("it has no checksum")
            return False
        if digest != expected:
            self.discard("it is damaged (its checksum differs)")
            return False
        return True

    def _publish(self) -> None:
        """Rename the draft after it was flushed to disk. The checksum is written first; alone it does no harm."""
        with self._draft.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fchmod(file.fileno(), 0o600)
            os.fsync(file.fileno())
        note = self._draft.with_suffix(".note")
        try:
            with note.open("w") as file:
                file.write(digest + "\n")
                file.flush()
                os.fsync(file.fileno())
            note.replace(self._checksum)
        finally:
            note.unlink(missing_ok=True)
        self._draft.replace(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _claim_writing(self) -> bool:
        """Whether this process may write the cache, by a lock that ends with the process."""
        lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        if self._file.exists():  # written between the look and the lock
            os.close(lock)
            return False
        self._lock = lock
        self._remove_drafts(f"{self._file.stem}-*.draft")
        self._remove_drafts(f"{self._file.stem}-*.note")
        return True

    def _remove_drafts(self, pattern: str) -> None:
        """Remove drafts, and the file of 30 MB that Java makes beside a draft and leaves behind if it is killed."""
        for suffix in ("", ".config"):
            for draft in self._file.parent.glob(pattern + suffix):
                with suppress(OSError):
                    draft.unlink()


def _foreign(path: Path) -> bool:
    """Whether a user other than this one and root can have written it."""
    status = path.stat()
    shared = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
    owners = (_ROOT, os.geteuid())
    # Where anybody may add files but not replace those of others (`/tmp`), the owner of each file is what counts.
    return bool(shared) or (status.st_uid not in owners and not status.st_mode & stat.S_ISVTX)


def _report(complaint: str) -> None:
    """Log a complaint once in this process."""
    if complaint not in _reported:
        _reported.add(complaint)
        _log.warning("%s", complaint)
