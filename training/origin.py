"""Where a run came from: `origin.json` in its folder, so that it is resumed and exported as what it is."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from waymark.checkpoint import WEIGHTS
from waymark.contracts import Role
from waymark.errors import InvalidInput


class Origin(BaseModel):
    """What a run was trained for, on what, and by which command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    prompt_format: str
    data_sha256: str
    """Of the trajectories."""
    base_sha256: str = ""
    """Of the weights that the run begins from, where those are a folder; else empty."""
    wording: str = ""
    """Options that decide how examples are written, such as `--as-published`; empty: as serving sends them."""
    command: str
    """Makes the run again."""


def read_origin(run: Path) -> Origin | None:
    """The origin of a run; None for one that recorded none."""
    path = run / "origin.json"
    return Origin.model_validate_json(path.read_text()) if path.exists() else None


def claim(run: Path, origin: Origin) -> None:
    """Note what a run folder is for. Raises InvalidInput when it holds a run of another role or format."""
    require_same_purpose(run, origin.role, origin.prompt_format, origin.wording)
    run.mkdir(parents=True, exist_ok=True)
    (run / "origin.json").write_text(origin.model_dump_json(indent=1) + "\n")


def sha256_of_base(base: str) -> str:
    """Of the weights in a base folder; empty for a hub name or a model from scratch, which has none here."""
    weights = Path(base) / WEIGHTS
    return hashlib.sha256(weights.read_bytes()).hexdigest() if base and weights.is_file() else ""


def require_same_purpose(run: Path, role: Role, prompt_format: str, wording: str | None = None) -> None:
    """Raise InvalidInput when a run was trained for another role, prompt format or, if it is given, wording."""
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
