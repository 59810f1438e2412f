"""The file of API keys: what is read, what is refused in one line, and what a change of it does."""

from __future__ import annotations

import codecs
import logging
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from waymark.errors import InvalidInput
from waymark.serving.middleware.api_keys import Keys, _as_sent
from waymark.serving.middleware.keys_file import LARGEST, read_keys


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.mark.parametrize(
    "content",
    [
        b"one\ntwo\n",
        codecs.BOM_UTF8 + b"one\ntwo",
        b"one\r\ntwo\r\n",
        b"one\rtwo\r",
        "one\ntwo\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "one\r\ntwo".encode("utf-16-be"),
        b"\n\n  one  \n\t\n# a comment\n   # another\n#two\ntwo\n\n",
        codecs.BOM_UTF8 + b"# a comment behind the mark\none\ntwo",
    ],
)
def test_keys_are_read_however_an_editor_saved_them(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    assert read_keys(file) == ["one", "two"]


@pytest.mark.parametrize("key", ["a#b", "a#", "sk-1#2#3", "schlüssel", "a,b", "%23", "a=b+/"])
def test_a_key_may_hold_any_characters(key: str, file: Path) -> None:
    file.write_text(f"{key}\nother\n", encoding="utf-8")
    keys = Keys(file=file)
    assert keys.accept(key)
    assert keys.accept(_as_sent(key.encode().decode("latin-1")))
    assert not keys.accept(key.partition("#")[0] or "#") or "#" not in key


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"good\nsecret\xff\n", "Line 2 of .* is not UTF-8"),
        (b"\xff\xfeo", "Line 1 of .* is not UTF-16"),
        (codecs.BOM_UTF32_LE + "secret".encode("utf-32-le"), "no key|not UTF-8"),
        (b"good\nsecret # for Ann\n", "Line 2 of .* is no key"),
        (b"se\x00cret\n", "Line 1 of .* is no key"),
        (b"se\x1bcret\n", "Line 1 of .* is no key"),
        ("se\u2028cret\n".encode(), "Line 1 of .* is no key"),
        (b"", "There is no key"),
        (b"# secret\n\n", "There is no key"),
        (b"x" * (LARGEST + 1), "more than 1,000,000 bytes"),
    ],
)
def test_a_file_without_keys_is_refused_in_one_line(content: bytes, says: str, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=says) as caught:
        Keys(file=file)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.field == "WAYMARK_API_KEYS_FILE"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device"])
def test_a_path_that_is_no_file_is_refused_at_once(kind: str, file: Path) -> None:
    if kind == "folder":
        file.mkdir()
    if kind == "pipe":
        os.mkfifo(file)
    if kind == "device":
        file.symlink_to("/dev/zero")
    with pytest.raises(InvalidInput, match="Cannot read the keys"):
        Keys(file=file)


@pytest.fixture
def clock() -> Callable[[], float]:
    """Two seconds pass between any two looks."""
    seconds = count(step=2)
    return lambda: float(next(seconds))


@pytest.mark.parametrize("fault", ["vanished", "emptied", "bad bytes", "folder"])
def test_keys_outlive_their_file_and_the_log_says_so_once(
    fault: str, file: Path, clock: Callable[[], float], caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text("old")
    keys = Keys(file=file, clock=clock)
    file.unlink()
    if fault == "emptied":
        file.write_text("")
    if fault == "bad bytes":
        file.write_bytes(b"secret\xff")
    if fault == "folder":
        file.mkdir()
    assert [keys.accept("old") for _ in range(5)] == [True] * 5
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "secret" not in caplog.text
    if fault == "folder":
        file.rmdir()
    file.write_text("new")
    assert (keys.accept("new"), keys.accept("old")) == (True, False)
    assert "are read from" in caplog.text


def test_a_replaced_file_of_equal_size_is_reread(file: Path, clock: Callable[[], float]) -> None:
    file.write_text("aaa")
    keys = Keys(file=file, clock=clock)
    written = file.stat()
    other = file.with_name("other")
    other.write_text("bbb")
    os.utime(other, ns=(written.st_atime_ns, written.st_mtime_ns))
    other.replace(file)
    assert (keys.accept("bbb"), keys.accept("aaa")) == (True, False)
