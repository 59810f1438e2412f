"""Where a socket's private folder is made: in the first place that is short enough, safe and can be written to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from waymark.cli.socket_folder import LONGEST, _places, make_socket_folder
from waymark.errors import StackError


def long_folder(below: Path) -> Path:
    """A folder whose path is longer than a socket's may be."""
    folder = below / ("d" * 120)
    folder.mkdir()
    return folder


def test_a_folder_is_private_and_short(tmp_path: Path) -> None:
    socket_folder = make_socket_folder("redis.sock", {"TMPDIR": str(long_folder(tmp_path))})
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    assert len(os.fsencode(socket_folder / "redis.sock")) <= LONGEST
    socket_folder.rmdir()


def test_the_runtime_folder_comes_after_tmpdir(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "r").mkdir()
    named = {"TMPDIR": str(tmp_path / "t"), "XDG_RUNTIME_DIR": str(tmp_path / "r")}
    assert make_socket_folder("s", named).parent == tmp_path / "t"
    (tmp_path / "t").rename(long_folder(tmp_path) / "t")
    assert make_socket_folder("s", named).parent == tmp_path / "r"


def test_characters_beyond_ascii_count_as_bytes(tmp_path: Path) -> None:
    folder = tmp_path / ("ü" * 45)
    folder.mkdir()
    socket_folder = make_socket_folder("redis.sock", {"TMPDIR": str(folder)})
    assert socket_folder.parent != folder
    socket_folder.rmdir()


@pytest.mark.parametrize("kind", ["missing", "file", "relative", "shared"])
def test_a_folder_that_cannot_hold_sockets_is_not_chosen(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("")
    if kind == "shared":  # anybody could replace what lies there
        place.mkdir()
        place.chmod(0o777)
    socket_folder = make_socket_folder("s", {"TMPDIR": "place" if kind == "relative" else str(place)})
    assert socket_folder.parent != place
    socket_folder.rmdir()


def test_without_a_place_the_error_names_each(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="too long for a socket") as caught:
        make_socket_folder("s" * 200)
    assert all(str(place) in str(caught.value) for place in _places({}))
    assert "Set TMPDIR" in caught.value.remedy
