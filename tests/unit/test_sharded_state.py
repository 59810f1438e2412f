"""A sharded state on a full disk, or damaged: one line, and the last state stays.

There is no GPU for FSDP here. The accelerator is a small one of ours, which writes and reads the state as accelerate
does under FSDP: by `torch.distributed.checkpoint`.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException, _wrap_exception

from training.run_state import load_state, save_state, writing
from waymark.errors import CheckpointError


class Sharding:
    """What `save_state` and `load_state` use of an accelerator whose weights are sharded."""

    distributed_type = DistributedType.FSDP
    is_main_process = True

    def __init__(self) -> None:
        self.weights = torch.zeros(100_000)

    def save_state(self, folder: str) -> None:
        state_dict_saver.save({"weights": self.weights}, checkpoint_id=folder, no_dist=True)

    def load_state(self, folder: str) -> None:
        state_dict_loader.load({"weights": self.weights}, checkpoint_id=folder, no_dist=True)

    def wait_for_everyone(self) -> None: ...


@pytest.fixture
def sharding() -> Sharding:
    return Sharding()


def save(folder: Path, sharding: Sharding, step: int) -> None:
    save_state(folder, cast(Accelerator, sharding), None, None, {"step": step})


def load(folder: Path, sharding: Sharding) -> dict[str, Any] | None:
    return load_state(folder, cast(Accelerator, sharding), None, None, adapters=False)


@contextmanager
def full_disk() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # files end there, as on a full disk
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_an_error_of_the_disk_and_keeps_the_last_state(sharding: Sharding, tmp_path: Path) -> None:
    save(tmp_path, sharding, 3)
    sharding.weights += 1
    with full_disk(), pytest.raises(OSError, match=r"perhaps the disk is full|File too large"):
        save(tmp_path, sharding, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert load(tmp_path, sharding) == {"step": 3}
    assert not sharding.weights.any()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("inline_container.cc:672: unexpected pos")]
)
def test_a_full_disk_of_another_process_names_the_state(error: Exception, tmp_path: Path) -> None:
    failed = CheckpointException("write", {1: _wrap_exception(error)})
    with pytest.raises(OSError, match="state") as refused, writing(tmp_path / "state"):
        raise failed
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(tmp_path / "state"))


@pytest.mark.parametrize("damaged", ["progress.json", ".metadata", "__0_0.distcp"])
@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_a_damaged_state_is_refused_in_one_line(
    damaged: str, content: bytes | None, sharding: Sharding, tmp_path: Path
) -> None:
    save(tmp_path, sharding, 3)
    file = tmp_path / "state" / damaged
    assert file.is_file()
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match="Cannot resume from") as refused:
        load(tmp_path, sharding)
    assert "\n" not in str(refused.value)
