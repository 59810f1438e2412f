"""What libraries raise on a full disk becomes an OSError that names the file."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from training.run_state import building, writing


@pytest.mark.parametrize(
    "error",
    [
        Exception("No space left on device (os error 28)"),  # tokenizers
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),  # torch
        OSError(errno.ENOSPC, "No space left on device"),  # Python, without a file name
    ],
)
def test_a_full_disk_names_the_file(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(OSError, match="file") as refused, writing(tmp_path / "file"):
        raise error
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(tmp_path / "file"))


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="other"), writing(tmp_path / "file"):
        raise LookupError("other")


def test_a_copy_that_fills_the_disk_names_the_new_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="model") as refused, building(tmp_path / "model"):
        raise OSError(errno.ENOSPC, "No space left on device", "source")
    assert refused.value.filename == str(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
