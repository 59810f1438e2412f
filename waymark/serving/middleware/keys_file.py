"""The file of API keys: UTF-8 text, with or without a byte-order mark, one key a line.

Blank lines do not count, nor do lines whose first character is `#`; elsewhere a `#` belongs to the key. UTF-16 is read
where it has its mark, as Windows' editors write it.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from pathlib import Path
from typing import Final

from waymark.errors import InvalidInput

SETTING: Final = "WAYMARK_API_KEYS_FILE"
LARGEST: Final = 1_000_000
"""Bytes; some ten thousand keys."""
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_32: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
Version = tuple[int, int, int]


def version(file: Path) -> Version:
    """What changes when a file does: two changes within one tick of its clock differ in size or in place."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_keys(file: Path) -> list[str]:
    """The keys in a file. Raises InvalidInput, in one line that quotes none of them."""
    try:
        content = _read(file)
    except OSError as error:
        raise InvalidInput(f"Cannot read the keys in {file}: {error.strerror or error}.", field=SETTING) from error
    keys = []
    for number, line in enumerate(_LINE_END.split(_decode(file, content)), start=1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if any(character.isspace() or not character.isprintable() for character in key):
            raise InvalidInput(
                f"Line {number} of {file} is no key: it holds a blank or a control character.",
                remedy="Write one key on each line, and comments on lines of their own that begin with #.",
                field=SETTING,
            )
        keys.append(key)
    if not keys:
        raise InvalidInput(f"There is no key in {file}.", remedy="Write one on each line.", field=SETTING)
    return keys


def _read(file: Path) -> bytes:
    """The content of a regular file. Opening a pipe would wait for whoever writes it."""
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as opened:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "it is no regular file")
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(0, f"it has more than {LARGEST:,} bytes")
    return content


def _decode(file: Path, content: bytes) -> str:
    encoding = "utf-8-sig"
    if content.startswith(_UTF_16) and not content.startswith(_UTF_32):
        encoding = "utf-16"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidInput(
            f"Line {line} of {file} is not {encoding.removesuffix('-sig').upper()} text (byte {error.start}).",
            remedy="Save the file as UTF-8.",
            field=SETTING,
        ) from error
