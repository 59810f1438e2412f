"""The state from which a run resumes: weights, optimizer and progress on disk, replaced completely or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors import SafetensorError

from training.user_files import FULL
from waymark.errors import CheckpointError

_SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)
_DAMAGED = (
    AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, UnpicklingError, ValueError
)  # fmt: skip
"""What torch and accelerate raise for a state that is damaged, or of another model."""
_RUST_NUMBER = re.compile(r"\(os error (\d+)\)")
_SHORT_ZIP = "inline_container.cc"
"""In the text of torch's error when a file of weights is shorter than what was written to it."""


def save_state(folder: Path, accelerator: Accelerator, model: Any, optimizer: Any, progress: dict[str, Any]) -> None:
    """Replace the state of a run: the file `state.pt`, with sharded weights the folder `state/`."""
    if accelerator.distributed_type in _SHARDED:
        partial = folder / "state.partial"
        try:
            with writing(folder / "state"):
                accelerator.save_state(str(partial))
                if accelerator.is_main_process:
                    (partial / "progress.json").write_text(json.dumps(progress))
                    replace_folder(partial, folder / "state")
        except OSError:
            if accelerator.is_main_process:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        accelerator.wait_for_everyone()
    elif accelerator.is_main_process:
        plain = accelerator.unwrap_model(model)
        parameters = plain.named_parameters(remove_duplicate=False)
        frozen = {name for name, parameter in parameters if not parameter.requires_grad}
        weights = {name: tensor for name, tensor in plain.state_dict().items() if name not in frozen}
        partial = folder / "state.pt.partial"
        try:
            with writing(folder / "state.pt"):
                torch.save({"model": weights, "optimizer": optimizer.state_dict(), **progress}, partial)
            os.replace(partial, folder / "state.pt")
        finally:
            partial.unlink(missing_ok=True)


def load_state(
    folder: Path, accelerator: Accelerator, model: Any, optimizer: Any, *, adapters: bool
) -> dict[str, Any] | None:
    """Load the state of a run into model and optimizer and return its progress; None if none was saved.

    `adapters` says that the state lacks the frozen weights of the base. Raises CheckpointError for a damaged state.
    """
    progress: dict[str, Any]
    if accelerator.distributed_type in _SHARDED:
        state = folder / "state"
        if not state.exists():
            return None
        with _loading(state):
            accelerator.load_state(str(state))
            progress = json.loads((state / "progress.json").read_text())
        return progress
    path = folder / "state.pt"
    if not path.exists():
        return None
    with _loading(path):
        progress = torch.load(path, map_location=accelerator.device, weights_only=True)
        accelerator.unwrap_model(model).load_state_dict(progress.pop("model"), strict=not adapters)
        optimizer.load_state_dict(progress.pop("optimizer"))
    return progress


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    """Convert the errors of reading a state to CheckpointError."""
    try:
        with _failures_raised():
            yield
    except _DAMAGED as error:
        raise CheckpointError(
            f"Cannot resume from {path}: {(str(error).strip().splitlines() or [type(error).__name__])[0]}",
            remedy=f"Begin in another --run folder; --base {path.parent / 'best'} starts from the best weights so far.",
        ) from error


@contextmanager
def _failures_raised() -> Iterator[None]:
    """Raise the error of the first process that failed instead of torch's exception about all of them.

    That exception (`torch.distributed.checkpoint.CheckpointException`) is no `Exception`, so that nothing else here
    would catch it.
    """
    try:
        yield
    except BaseException as error:
        failures = getattr(error, "failures", None)
        first = next(iter(failures.values()), None) if isinstance(failures, dict) else None
        if first is None:
            raise
        raise first[0] from error


def replace_folder(partial: Path, folder: Path) -> None:
    """Move a complete folder to a place where an older one may be. After a kill, `recover_folders` restores the older
    one.
    """
    old = folder.with_name(f".{folder.name}.replaced")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def recover_folders(run: Path) -> None:
    """Bring back the folders of a run that a kill in the middle of `replace_folder` has left under their old name."""
    for old in run.glob(".*.replaced"):
        folder = old.with_name(old.name.removeprefix(".").removesuffix(".replaced"))
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(folder)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert the errors of torch, safetensors and tokenizers on a full disk to OSError, which names `path`."""
    try:
        with _failures_raised():
            yield
    except OSError as error:
        if error.errno in FULL:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    except Exception as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if number := _RUST_NUMBER.search(text):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        if isinstance(error, RuntimeError | SafetensorError):
            code = errno.ENOSPC if _SHORT_ZIP in text else errno.EIO
            raise OSError(code, f"Cannot write, perhaps the disk is full ({text})", str(path)) from error
        raise


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A new empty folder beside `folder` that takes its place when the block ends; a failure removes it.

    The error of a full disk names `folder`.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        replace_folder(partial, folder)
    except OSError as error:
        if error.errno in FULL and error.filename != str(folder):
            raise OSError(error.errno, os.strerror(error.errno), str(folder)) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
