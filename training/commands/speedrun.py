"""`speedrun`: make weights of the shipped kind from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from training.commands.common_options import known_format
from training.commands.console import say
from training.worlds.registry import training_world
from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.operating_system.cpu_cores import available_cores
from waymark.worlds.registry import DEFAULT_WORLD


def speedrun(
    output: Annotated[Path, typer.Option(help="Folder for all files of the run.")] = Path("build/speedrun"),
    prompt_format: Annotated[
        str, typer.Option("--format", callback=known_format, help="Prompt format: compact, compact-reasons or another.")
    ] = "compact",
    anew: Annotated[bool, typer.Option("--anew", help="Record paths and sub-goals again.")] = False,
    leave_out: Annotated[int | None, typer.Option(help="Train without the things of this fold (0, 1 or 2).")] = None,
    roles: Annotated[str, typer.Option(help="Roles to train, separated by commas.")] = "executor,controller,flat",
    steps: Annotated[
        int | None,
        typer.Option(help="Updates of the first run; the second run has two thirds of them. Default: 9,000.", min=1),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the weights and batches.", min=0)] = 0,
    rules: Annotated[
        Literal["all", "none"], typer.Option(help="Rules of play of the agents that play for corrections.")
    ] = "all",
    rollouts: Annotated[
        int | None,
        typer.Option(help="Episodes of each task that each agent plays for corrections. Default: 20, or 56.", min=1),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="Simulators that record at once. Default: one for each core.", min=1)
    ] = None,
    toy: Annotated[
        bool, typer.Option("--toy", help="Use tiny models and three updates, to check that all stages run.")
    ] = False,
) -> None:
    """Make weights of the shipped kind from nothing.

    Record, train, correct, train again, export. Resumes where it was stopped.
    """
    from training.resumable_stages import StageFailed
    from training.speedrun import ROLES, Speedrun, run_all, times
    from training.user_files import require_writable_folder

    if leave_out is not None:
        training_world(DEFAULT_WORLD).check_fold(leave_out)
    named = [name.strip() for name in roles.split(",") if name.strip()]
    if unknown := [name for name in named if name not in ROLES]:
        raise InvalidInput(f"Unknown role {unknown[0]!r}.", remedy=f"Roles are {', '.join(ROLES)}.", field="roles")
    require_writable_folder(output, "output")
    run = Speedrun(
        folder=output,
        prompt_format=prompt_format,
        anew=anew,
        leave_out=leave_out,
        roles=tuple(cast(Role, name) for name in named),
        steps=steps,
        seed=seed,
        rules=rules,
        rollouts=rollouts,
        processes=processes or available_cores(),
        toy=toy,
    )
    try:
        progress = run_all(run, say)
    except StageFailed as error:
        say(str(error))
        raise typer.Exit(error.code) from error
    typer.echo(times(progress))
    say(f"Checkpoints are in {output / 'checkpoints'}.")
