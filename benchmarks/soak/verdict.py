"""How a soak ends: a report, one line, and an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console

JsonFile = Annotated[Path | None, typer.Option(help="File for the report, in JSON.")]


def finish(console: Console, report: BaseModel, json: Path | None, summary: str, *, holds: bool) -> None:
    """Write the report, say whether the targets hold, and exit with 0 if they do and 1 if not."""
    if json is not None:
        json.write_text(report.model_dump_json(indent=2))
    console.print(f"{summary}: {'holds' if holds else 'does not hold'}.", soft_wrap=True)
    raise typer.Exit(0 if holds else 1)
