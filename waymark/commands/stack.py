"""Commands about a running stack: up, down, status, worker."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from waymark.child_processes.python_process import python_command, python_environment
from waymark.cli.embedded_redis import has_data
from waymark.cli.interrupts import ended_by_signals
from waymark.cli.local_stack import PORTS, Service, Stack, StackOptions, shipped_checkpoints
from waymark.cli.recover_results import kept_data_is_named, kept_data_text
from waymark.cli.stack_record import StackRecord, find_records, stop, write_record
from waymark.clients.addresses import shown
from waymark.clients.services import API_KEY, SyncEvaluationClient
from waymark.command_hints import command
from waymark.commands.console import CANNOT_START, out, tell
from waymark.commands.options import (
    CheckpointsOption,
    EngineOption,
    EnvironmentOption,
    JsonOption,
    RunsOption,
    SlotsOption,
)
from waymark.commands.play_evaluations import errors_reported
from waymark.commands.start_checks import check_alive, check_own_packages, check_packages, check_stack
from waymark.commands.urls import check_url
from waymark.contracts import EvaluationStatus, Problem
from waymark.contracts.health import RunnerHealth
from waymark.errors import ServiceError, StackError
from waymark.terminal_table import Column, FittingTable
from waymark.worlds.registry import get_world

_WATCH_SECONDS = 0.3
_STOP_SECONDS = 120.0
"""Seconds that `down` waits: services are stopped in order, and finished episodes are written."""
_ASK_SECONDS = 5.0
_SHOWN_EVALUATIONS = 10


def up(
    checkpoints: CheckpointsOption = None,
    engine: EngineOption = "ctranslate2",
    environment: EnvironmentOption = "scienceworld",
    slots: SlotsOption = None,
    runs: RunsOption = Path("runs"),
    port: Annotated[int, typer.Option(help="Port of the env-runner.", min=1, max=65_535)] = PORTS["env-runner"],
    controller_port: Annotated[int, typer.Option(help="Port of the controller.", min=1, max=65_535)] = (
        PORTS["controller"]
    ),
    executor_port: Annotated[int, typer.Option(help="Port of the executor.", min=1, max=65_535)] = PORTS["executor"],
) -> None:
    """Start the local stack. It runs until Ctrl-C or `waymark down`."""
    ports: dict[Service, int] = {"controller": controller_port, "executor": executor_port, "env-runner": port}
    options = StackOptions(
        runs=runs,
        checkpoints=checkpoints or shipped_checkpoints(environment),
        engine=engine,
        environment=environment,
        slots=slots,
        ports=ports,
    )
    with errors_reported(), ended_by_signals():
        check_stack(options)
        tell("Starting Redis, controller, executor, env-runner and worker …")
        with kept_data_is_named(Stack(options), partial(tell, style="bold red")) as stack:
            record = write_record(stack.folder, {name: stack.url(name) for name in PORTS}, stack.pids, stack.logs)
            try:
                _tell_started(stack, get_world(environment).example_task)
                while True:
                    stack.check()
                    time.sleep(_WATCH_SECONDS)
            finally:
                record.unlink(missing_ok=True)


def _tell_started(stack: Stack, task: str) -> None:
    for service in PORTS:
        tell(f"{service:<12}{stack.url(service)}")
    runner = stack.url("env-runner")
    tell(
        f"Evaluations are shown at {runner}/. Logs are in {stack.logs}. Try:\n"
        f"  {command('evaluate', '--url', runner, '--tasks', task)}\n"
        f"  curl {runner}/v1/evaluations -H 'content-type: application/json' -d '{{\"tasks\": [\"{task}\"]}}'\n"
        f"Ctrl-C stops all of it, and so does `{command('down', '--runs', stack.runs)}` elsewhere."
    )


def down(runs: RunsOption = Path("runs")) -> None:
    """End the stacks of this runs folder.

    They are those that `waymark up` has started. Finished episodes are written first.
    """
    with errors_reported(), ended_by_signals():
        records = list(find_records(runs))
        if not records:
            raise StackError(
                f"No stack of `{command('up')}` runs with {runs} as its runs folder.",
                remedy="Name the folder that it was started with: --runs FOLDER.",
            )
        for path, record in records:
            tell(f"Stopping the stack at {record.urls.get('env-runner', path.parent)} …")
            if not stop(record, _STOP_SECONDS):
                raise StackError(
                    f"The stack of process {record.pid} still runs after {_STOP_SECONDS:.0f} s.",
                    remedy=f"Its logs are in {record.logs}",
                )
            tell("Stopped.")
            kept = path.parent / "redis"
            if has_data(kept):
                tell(kept_data_text(kept, runs), style="bold red")


def status(
    runs: RunsOption = Path("runs"),
    url: Annotated[
        str | None,
        typer.Option(envvar="WAYMARK_URL", help="Ask the env-runner at this address instead of the local stack."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the running services, their health, and evaluations. Exit code 3 if nothing runs or something is wrong."""
    with errors_reported():
        if url is not None and url.strip():
            address = check_url(url)
            check_alive(address, without="ask the local stack")
            stacks = [_look({"env-runner": address}, None)]
        else:
            stacks = [_look(record.urls, record) for _, record in find_records(runs)]
            if not stacks:
                if json:
                    out.print_document({"stacks": []})
                raise StackError(
                    f"Nothing runs with {runs} as its runs folder.",
                    remedy=f"Start it with `{command('up')}`, or name another folder (--runs) or env-runner (--url).",
                )
        if json:
            out.print_document({"stacks": stacks})
        else:
            for stack in stacks:
                _show(stack)
    if not all(service["state"] == "ready" for stack in stacks for service in stack["services"]):
        raise typer.Exit(CANNOT_START)


def worker(environment: EnvironmentOption = "scienceworld", slots: SlotsOption = None) -> None:
    """Play episodes for a running stack.

    WAYMARK_REDIS_URL, WAYMARK_CONTROLLER_URL and WAYMARK_EXECUTOR_URL say where the stack is.
    """
    with errors_reported():
        check_packages(environment)
    settings = {**python_environment(), "WAYMARK_ENVIRONMENT": environment}
    if slots is not None:
        settings["WAYMARK_SLOTS"] = str(slots)
    process = python_command("services.env_runner", "worker")
    os.execve(process[0], process, settings)  # noqa: S606 - no shell is wanted


def serve(
    service: Annotated[
        Literal["controller", "executor", "env-runner"], typer.Argument(help="The service to run.", show_default=False)
    ],
) -> None:
    """Run one service in the foreground. Its settings come from WAYMARK_* variables."""
    with errors_reported():
        check_packages() if service == "env-runner" else check_own_packages()
    process = python_command(f"services.{service.replace('-', '_')}")
    os.execve(process[0], process, python_environment())  # noqa: S606 - no shell is wanted


def _look(urls: dict[str, str], record: StackRecord | None) -> dict[str, Any]:
    """The state of a stack: each service's state and problems, and its latest evaluations."""
    services = []
    for name, address in urls.items():
        state, remarks = _health(address)
        pid = None if record is None else record.pids.get(name)
        services.append({"name": name, "url": shown(address), "pid": pid, "state": state, "remarks": remarks})
    evaluations: list[dict[str, Any]] = []
    problem = ""
    try:
        with SyncEvaluationClient(urls["env-runner"], timeout=_ASK_SECONDS) as client:
            page = client.evaluations(limit=_SHOWN_EVALUATIONS)
            evaluations = [_described(evaluation) for evaluation in page.items]
    except ServiceError as error:
        problem = " ".join(str(error).split())
    return {
        "pid": None if record is None else record.pid,
        "logs": None if record is None else record.logs,
        "services": services,
        "evaluations": evaluations,
        "problem": problem,
    }


def _health(address: str) -> tuple[str, list[str]]:
    """The state of a service in a word, and its problems."""
    key = os.environ.get(API_KEY, "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key.isascii() and key else {}
    try:
        answer = httpx.get(f"{address}/health/ready", timeout=_ASK_SECONDS, trust_env=False, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return "unreachable", [str(error) or type(error).__name__]
    if not answer.is_success:
        try:
            return "not ready", [Problem.model_validate_json(answer.content[:100_000]).detail]
        except ValidationError:
            return "not ready", [f"HTTP {answer.status_code}"]
    try:
        health = RunnerHealth.model_validate_json(answer.content[:1_000_000])
    except ValidationError:
        return "ready", []
    remarks = [f"{aside.evaluation}: {aside.problem} {aside.remedy}" for aside in health.set_aside]
    if health.runs is not None:
        remarks.append(f"{health.runs.problem} {health.runs.remedy}")
    return "ready", remarks


def _described(evaluation: EvaluationStatus) -> dict[str, Any]:
    fields = {"id", "state", "created", "episodes", "finished", "errored", "running", "mean_score", "agent_name"}
    return evaluation.model_dump(mode="json", include=fields)


def _show(stack: dict[str, Any]) -> None:
    table = FittingTable(
        [Column("Service"), Column("State"), Column("Address", drop=2), Column("Process", justify="right", drop=1)],
        title="Services",
    )
    for service in stack["services"]:
        table.add_row(service["name"], service["state"], service["url"], str(service["pid"] or "–"))
    out.print(table)
    for service in stack["services"]:
        for remark in service["remarks"]:
            out.print(Text(f"{service['name']}: {remark}"))
    if stack["problem"]:
        out.print(Text(stack["problem"]))
    elif not stack["evaluations"]:
        out.print("No evaluation was submitted yet.")
    else:
        out.print(_evaluations(stack["evaluations"]))
    if stack["logs"]:
        out.print(Text(f"Logs are in {stack['logs']}."), soft_wrap=True)


def _evaluations(evaluations: list[dict[str, Any]]) -> FittingTable | Table:
    table = FittingTable(
        [
            Column("Evaluation"),
            Column("State"),
            Column("Done", justify="right"),
            Column("Errors", justify="right", drop=2),
            Column("Mean", justify="right"),
            Column("Agent", drop=1),
        ],
        title=f"The latest {len(evaluations)} evaluations" if len(evaluations) > 1 else "The latest evaluation",
    )
    for evaluation in evaluations:
        mean = evaluation["mean_score"]
        table.add_row(
            evaluation["id"],
            evaluation["state"],
            f"{evaluation['finished']}/{evaluation['episodes']}",
            str(evaluation["errored"]),
            "–" if mean is None else f"{mean:.1f}",
            evaluation["agent_name"],
        )
    return table
