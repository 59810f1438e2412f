"""Folders for results: a test write before work begins, and errors of the disk, each with a remedy."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from waymark.errors import StorageUnavailable

PROBE_BYTES = 4_000_000
"""Bytes that are written and removed again before an evaluation begins: about the need of its first minutes."""
_BLOCK = b"\0" * 65_536
_REMEDIES = {
    errno.ENOSPC: "Free space on its disk, or name a folder on another one.",
    errno.EDQUOT: "Free space within this user's disk quota, or name a folder on another disk.",
    errno.EFBIG: "Raise this process's limit on the size of a file (ulimit -f).",
    errno.EROFS: "Mount its disk for writing, or name a folder on another one.",
    errno.EACCES: "Allow this user to write there, or name another folder.",
    errno.EPERM: "Allow this user to write there (lsattr shows files that are immutable), or name another folder.",
    errno.ENOTDIR: "A file stands where a folder should be: move it away, or name another folder.",
    errno.EEXIST: "A file stands where a folder should be: move it away, or name another folder.",
    errno.EISDIR: "A folder stands where a file should be: move it away.",
    errno.ELOOP: "A symbolic link there leads back to itself: replace it by a folder.",
    errno.ENAMETOOLONG: "Name a folder with a shorter path.",
    errno.EIO: "Check the disk and the kernel's log (dmesg).",
    errno.ENXIO: "Something else than a plain file is there: move it away.",
    errno.EMFILE: "Raise this process's limit on open files (ulimit -n).",
    errno.ENFILE: "Raise the machine's limit on open files (fs.file-max).",
}
NO_FOLDER = frozenset({errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG})
"""Errors of a path that cannot be a folder."""
_OTHERWISE = "Check that the folder exists and that this user may write there."


def unavailable(path: Path, error: OSError) -> StorageUnavailable:
    """The error for the user from an error of the operating system at a path."""
    reason = error.strerror or str(error) or type(error).__name__
    failure = StorageUnavailable(
        f"{path} cannot be written: {reason}.", remedy=_REMEDIES.get(error.errno or 0, _OTHERWISE)
    )
    failure.__cause__ = error
    return failure


def check_writable(folder: Path, *, size: int = PROBE_BYTES) -> None:
    """Make the folder if it is missing, and write `size` bytes there that are gone again afterwards.

    Raises StorageUnavailable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            left = size
            while left > 0:
                left -= file.write(_BLOCK[:left])
            os.fsync(file.fileno())
    except OSError as error:
        raise unavailable(folder, error) from error


def check_plain_file(path: Path) -> None:
    """Raise StorageUnavailable if the path exists and is not a regular file, because opening a pipe would block
    forever.
    """
    try:
        if path.exists() and not path.is_file():
            raise StorageUnavailable(f"{path} is no plain file.", remedy="Move it away; then it is written again.")
    except OSError as error:
        raise unavailable(path, error) from error
