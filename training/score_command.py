"""`python -m training score`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.annotate import read_annotations
from training.options import ANNOTATIONS, CHECKPOINTS, DATA, progress_bar, role_named
from training.trajectories import read_manifest, read_table
from waymark.errors import InvalidInput
from waymark.generation.load import Engine
from waymark.tasks import find_task


def score(
    checkpoints: Annotated[
        list[Path] | None, typer.Argument(help="Checkpoint or run folders; default: those that ship.")
    ] = None,
    role: Annotated[str | None, typer.Option(help="Of runs that recorded none; default: as their names begin.")] = None,
    prompt_format: Annotated[str, typer.Option("--format", help="Of runs that recorded none.")] = "compact",
    engine: Annotated[Engine, typer.Option(envvar="WAYMARK_ENGINE", help="What the models run on.")] = "ctranslate2",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
    data: Path = DATA,
    annotations: Path = ANNOTATIONS,
) -> None:
    """Exact match of sub-goals and actions on dev, by task; an executor's also with a controller's sub-goals."""
    from training.score import opened, table
    from training.score import score as score_all

    every = [one for one in read_table(data) if find_task(one.task_id).split_of(one.variation) == "dev"]
    if not every:
        raise InvalidInput(f"{data} holds no dev paths.", remedy="Record some: python -m training trajectories.")
    sources = checkpoints or sorted(path.parent for path in CHECKPOINTS.rglob("card.json"))
    run_role = role_named(role) if role else None
    with (
        opened(sources, engine, role=run_role, prompt_format=prompt_format) as contestants,
        progress_bar(Console(stderr=True)) as bar,
    ):
        task = bar.add_task("")

        def told(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        scores = score_all(contestants, every, read_annotations(annotations), told)
    if as_json:
        data_sha256 = read_manifest(data)["sha256"]
        typer.echo(json.dumps({"data_sha256": data_sha256, "scores": [asdict(one) for one in scores]}))
    else:
        Console().print(table(scores))
