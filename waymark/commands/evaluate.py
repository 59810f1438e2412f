"""`waymark evaluate` and `waymark resume`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import typer

from waymark.agent.named_agents import AGENTS, MOST_BEAMS, find_agents
from waymark.agent.subgoal_sources import check_source
from waymark.cli.interrupts import ended_by_signals
from waymark.cli.local_stack import StackOptions, shipped_checkpoints
from waymark.cli.request_errors import checked
from waymark.command_hints import command
from waymark.commands.console import SOME_ERRORED, tell
from waymark.commands.options import (
    CheckpointsOption,
    EngineOption,
    EnvironmentOption,
    JsonOption,
    RunsOption,
    SlotsOption,
    UrlOption,
    items,
    variations_of,
)
from waymark.commands.play_evaluations import Played, errors_reported, play_to_the_end, resume_all, show, submit
from waymark.commands.results import read_run
from waymark.commands.start_checks import check_alive, check_checkpoints, check_run, check_stack
from waymark.commands.urls import check_url
from waymark.contracts import EvaluationRequest
from waymark.errors import InvalidInput
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import RunFolder
from waymark.inference.open_engine import Engine
from waymark.worlds.registry import WorldName, get_world


def evaluate(
    protocol: Annotated[
        str,
        typer.Option(
            help="Set of variations with limits: quick, dev, seed, swiftsage or full; for textworld-express quick, "
            "dev or test."
        ),
    ] = "quick",
    tasks: Annotated[
        str | None, typer.Option(help="Task ids or names, e.g. 1-1,4-2. Default: all tasks of the world.")
    ] = None,
    variations: Annotated[
        str | None, typer.Option(help="Numbers or ranges of variations, e.g. 0,4-6. Default: the protocol's.")
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Agents that play, separated by commas: {', '.join(AGENTS)}. Several are compared.",
            show_default="hierarchical",
        ),
    ] = None,
    repair: Annotated[bool, typer.Option(help="Replace actions that the environment does not know.")] = True,
    rules: Annotated[str, typer.Option(help="Rules of play: all, none, or names separated by commas.")] = "all",
    repeats: Annotated[
        int,
        typer.Option(
            min=1,
            max=100,
            help="Plays of each variation. With 2 or more, intervals include the randomness of play.",
        ),
    ] = 1,
    beams: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_BEAMS,
            help="Beam width of both models. Default: 1 (greedy); published agents: 5.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the agents random and semi_random.")] = 0,
    checkpoints: CheckpointsOption = None,
    engine: EngineOption = "ctranslate2",
    environment: EnvironmentOption = "scienceworld",
    slots: SlotsOption = None,
    runs: RunsOption = Path("runs"),
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Play a world and show the scores beside published ones.

    The world is ScienceWorld and the checkpoints are the shipped ones, unless options say otherwise.

    Several agents (`--agent hierarchical,flat`) play side by side and end in a table that compares them.
    """
    played: list[Played] = []
    options = StackOptions(
        runs=runs,
        checkpoints=checkpoints or shipped_checkpoints(environment),
        engine=engine,
        environment=environment,
        slots=slots,
    )
    with errors_reported(played, runs, url), ended_by_signals():
        with checked():
            requests = [
                EvaluationRequest(
                    protocol=protocol,
                    tasks=items(tasks),
                    variations=variations_of(variations),
                    agent=config,
                    seed=seed,
                    repeats=repeats,
                )
                for config in find_agents(
                    agent or ["hierarchical"], repair=repair, beams=beams, rules=rules, world=environment
                )
            ]
        episodes("", requests[0], get_world(environment))  # bad input is reported before anything starts
        for request in requests:
            check_source(request.agent, get_world(environment).agent)
        url = _checked_url(url)
        if url is None:
            check_stack(options, requests)
        play_to_the_end(played, partial(submit, requests), options, url, json=json)


def resume(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of interrupted evaluations.")],
    errored: Annotated[bool, typer.Option("--errored", help="Also play errored episodes again.")] = False,
    checkpoints: CheckpointsOption = None,
    slots: SlotsOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Continue an interrupted evaluation. Finished episodes are kept.

    Several evaluations of one command continue side by side. They need the checkpoints that they began with.
    """
    played: list[Played] = []
    folder = runs[0].absolute().parent
    with errors_reported(played, folder, url), ended_by_signals():
        apart = [run for run in runs if run.absolute().parent != folder]
        if apart:
            raise InvalidInput(
                f"{apart[0]} and {runs[0]} are not in one folder.", remedy="Resume them one by one.", field="runs"
            )
        options = StackOptions(runs=folder, slots=slots)
        url = _checked_url(url)
        if url is None:
            for run in runs:
                RunFolder(run).check()  # a damaged one is reported before anything starts
            engine, environment = _played_with(runs)
            if not any(_is_unfinished(run, errored=errored) for run in runs):
                _show_finished(runs, errored=errored, json=json)
                return
            checkpoints = checkpoints or shipped_checkpoints(environment)
            options = replace(options, engine=engine, environment=environment, checkpoints=checkpoints)
            requests = [RunFolder(run).evaluation().request for run in runs]
            check_stack(options, requests)
            if engine != "scripted":
                models = check_checkpoints(checkpoints, set(), engine)
                for run in runs:
                    check_run(run, models)
        names = [run.absolute().name for run in runs]
        play_to_the_end(played, partial(resume_all, names, errored), options, url, json=json)


def _checked_url(url: str | None) -> str | None:
    """The env-runner's address, if one is given and something answers there; an empty one counts as none."""
    if url is None or not url.strip():
        return None
    address = check_url(url)
    check_alive(address)
    return address


def _is_unfinished(run: Path, *, errored: bool) -> bool:
    """Whether episodes of a run are left to play."""
    folder = RunFolder(run)
    lights = folder.lights()
    return len(lights) < folder.evaluation().episodes or (errored and any(light.error for light in lights))


def _show_finished(runs: Sequence[Path], *, errored: bool, json: bool) -> None:
    """Show runs that have nothing left to play. Raises typer.Exit if episodes errored."""
    outcomes = [read_run(run) for run in runs]
    failed = [
        run for run, outcome in zip(runs, outcomes, strict=True) if any(result.error for result in outcome.results)
    ]
    for run, outcome in zip(runs, outcomes, strict=True):
        tell(f"Nothing is left to play: all {len(outcome.results)} episodes of {run} are finished.")
    show(outcomes, json=json)
    if failed and not errored:
        tell(f"Some episodes errored; `{command('resume', '--errored', *failed)}` plays those again.")
        raise typer.Exit(SOME_ERRORED)


def _played_with(runs: Sequence[Path]) -> tuple[str, str]:
    """The engine and the environment of runs that continue together. Raises InvalidInput where they differ."""
    began = [RunFolder(run).played_with(get_args(Engine), get_args(WorldName)) for run in runs]
    other = next((place for place, names in enumerate(began) if names != began[0]), None)
    if other is not None:
        first, second = (" and ".join(began[place]) for place in (0, other))
        raise InvalidInput(
            f"{runs[0]} was begun with {first}, {runs[other]} with {second}.",
            remedy="Resume them one by one.",
            field="runs",
        )
    return began[0]
