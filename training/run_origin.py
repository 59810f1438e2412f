"""The origin of a run: `origin.json` in its folder, so that it is resumed and exported with the right role and data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from training.base_models import weight_files
from training.recipe import has_state
from training.run_state import writing
from training.user_files import reading, sha256_of
from waymark.contracts import Role
from waymark.errors import InvalidInput

_SOURCES: Final = {
    "data_sha256": "trajectories (--data)",
    "annotations_sha256": "sub-goals (--annotations)",
    "sampling": "sampling (--sampling)",
    "base_sha256": "base weights",
}


class Origin(BaseModel):
    """The purpose, the data and the command of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    prompt_format: str
    data_sha256: str
    """Hash of the trajectories."""
    annotations_sha256: str = ""
    """Hash of the table of sub-goals; empty if an older run did not record it, like the next field."""
    sampling: str = ""
    """Which training trajectories the dataset contains."""
    wording: str = ""
    """Options for the form of examples, such as `--as-published`; empty: as in serving."""
    left_out: str = ""
    """The fold that was left out (`--leave-out`) and took the place of dev; empty: none."""
    base_sha256: str = ""
    """Hash of the initial weights if they are a folder; else empty."""
    command: str
    """The command that repeats the run."""


def read_origin(run: Path) -> Origin | None:
    """The origin of a run; None for one that recorded none."""
    path = run / "origin.json"
    if not path.exists():
        return None
    with reading(path, "the origin of a run", "run", "Give another --run folder."):
        return Origin.model_validate_json(path.read_text())


def claim(run: Path, origin: Origin) -> None:
    """Record the purpose of a run folder. Raises what `require_same_purpose` and `require_same_source` raise."""
    require_same_purpose(run, origin.role, origin.prompt_format, origin.wording)
    require_same_source(run, origin)
    run.mkdir(parents=True, exist_ok=True)
    with writing(run / "origin.json"):
        (run / "origin.json").write_text(origin.model_dump_json(indent=1) + "\n")


def sha256_of_base(base: str) -> str:
    """Hash of the weights in a base folder; empty for a hub name or a model from scratch.

    Of sharded weights it is the hash of the hashes of their index and their files.
    """
    files = weight_files(Path(base)) if base else []
    if len(files) < 2:
        return sha256_of(files[0]) if files else ""
    return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()


def require_same_source(run: Path, origin: Origin) -> None:
    """Raise InvalidInput if the state of a run came from other data or another base than `origin` names."""
    begun = read_origin(run)
    if begun is None or not has_state(run):
        return
    if begun.left_out != origin.left_out:
        raise InvalidInput(
            f"The run in {run} was begun with {f'fold {begun.left_out}' if begun.left_out else 'nothing'} left out, "
            f"now {f'fold {origin.left_out}' if origin.left_out else 'nothing'} is.",
            remedy="Give another --run folder, or the --leave-out that it was begun with.",
            field="leave_out",
        )
    for name, source in _SOURCES.items():
        before, now = getattr(begun, name), getattr(origin, name)
        if before and before != now:
            raise InvalidInput(
                f"The run in {run} was begun with other {source} ({name} {before[:12]}, now {now[:12] or 'none'}).",
                remedy=f"Begin in another --run folder; --base {run / 'best'} starts from its weights.",
                field=name.removesuffix("_sha256"),
            )


def require_same_purpose(run: Path, role: Role, prompt_format: str, wording: str | None = None) -> None:
    """Raise InvalidInput if a run was trained for another role, prompt format or, if given, form of examples."""
    begun = read_origin(run)
    if begun is not None and (begun.role, begun.prompt_format) != (role, prompt_format):
        raise InvalidInput(
            f"{run} is a run of role {begun.role} in format {begun.prompt_format}, not of {role} in {prompt_format}.",
            remedy="Give another --run folder, or the role and --format that it was begun with.",
            field="run",
        )
    if begun is not None and wording is not None and begun.wording != wording:
        raise InvalidInput(
            f"The run in {run} was begun with {begun.wording or 'examples as serving sends them'}, "
            f"not with {wording or 'examples as serving sends them'}.",
            remedy="Give another --run folder, or the options that it was begun with.",
            field="run",
        )
