"""Files that training replaces: whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from training.datasets import Example, write_dataset
from training.user_files import replacing, require_writable_file, require_writable_folder
from waymark.errors import InvalidInput

EXAMPLES = [Example("4-2", 0, "prompt", "target", "instruction")]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def fail() -> None:
        with replacing(tmp_path / "a") as partial:
            partial.write_text("new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert files(tmp_path) == {"a": b"old"}


def test_an_error_of_writing_names_the_file(tmp_path: Path) -> None:
    def fail() -> None:
        with replacing(tmp_path / "a"):
            raise OSError(errno.ENOSPC, "Error writing bytes to file")  # as Arrow does

    with pytest.raises(OSError, match=r"No space left on device: '.*/a'"):
        fail()


def test_a_new_file_takes_the_place_of_the_old_one_in_a_new_folder_too(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with replacing(tmp_path / "new" / "a") as partial:
            partial.write_text(text)
        assert files(tmp_path / "new") == {"a": text.encode()}


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with replacing(tmp_path / "link") as partial:
        partial.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    with replacing(tmp_path / "pipe") as partial:
        partial.write_text("through")
    reader.join()
    assert read == ["through"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_dataset_that_cannot_be_written_whole_replaces_none(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"train": EXAMPLES, "dev": EXAMPLES}, {"role": "executor"})
    before = files(tmp_path)
    assert set(json.loads(before["manifest.json"])["files"]) == {"train.parquet", "dev.parquet"}
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_dataset(tmp_path, {"train": EXAMPLES * 2, "dev": EXAMPLES}, {"role": object()})
    assert files(tmp_path) == before


@pytest.mark.parametrize("folder", ["/proc/run", "/proc/a/run", "{}/" + "x" * 256, "{}/new/" + "x" * 256 + "/run"])
def test_a_folder_that_cannot_be_made_is_refused_even_to_root(folder: str, tmp_path: Path) -> None:
    path = Path(folder.format(tmp_path))
    with pytest.raises(InvalidInput, match="Cannot write to the folder"):
        require_writable_folder(path, "run")
    with pytest.raises(InvalidInput, match="Cannot write to the folder"):
        require_writable_file(path / "data.parquet", "output")
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_name_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="file name too long"):
        require_writable_file(tmp_path / "new" / ("x" * 256), "output")


@pytest.mark.parametrize("folder", ["", "new", "new/new", "new/../other"])
def test_asking_whether_a_folder_can_be_written_leaves_nothing_there(folder: str, tmp_path: Path) -> None:
    require_writable_folder(tmp_path / folder, "run")
    require_writable_file(tmp_path / folder / "data.parquet", "output")
    assert list(tmp_path.iterdir()) == []
