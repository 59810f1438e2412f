"""Commands that work on runs on disk: report, export, compare, recover."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from waymark.child_processes.python_process import python_command, python_environment
from waymark.cli.interrupts import ended_by_signals
from waymark.cli.recover_results import recover_results
from waymark.commands.console import out, tell
from waymark.commands.options import JsonOption
from waymark.commands.play_evaluations import errors_reported, show
from waymark.commands.start_checks import check_packages
from waymark.errors import InvalidInput, StorageUnavailable
from waymark.evaluation import export, report_files, terminal_report
from waymark.evaluation.checkpoint_identity import Makers
from waymark.evaluation.comparison import Run, compare
from waymark.evaluation.export import MEDIA_TYPES
from waymark.evaluation.run_folder import RunFolder
from waymark.evaluation.writable_folders import NO_FOLDER, unavailable

_ENDINGS = ", ".join(f".{form}" for form in MEDIA_TYPES)


def recover(
    data: Annotated[
        Path,
        typer.Argument(help="Folder with the data of an embedded Redis, as printed by the command that failed."),
    ],
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Folder for results. Default: the runs folder of the command that failed.", show_default=False
        ),
    ] = None,
) -> None:
    """Write results that an embedded Redis still holds to disk.

    They go to the folders of their runs. Then the data of that Redis are removed.
    """
    with errors_reported(), ended_by_signals():
        try:
            recover_results(data, runs, tell)
        except StorageUnavailable as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_FOLDER:
                raise InvalidInput(error.message, remedy=error.remedy, field="runs") from error
            raise


def show_report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, e.g. runs/ID. Several are compared.")],
    json: JsonOption = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            help="Write the report to this HTML file, which needs no network.",
            show_default=False,
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown tables, e.g. for an issue or a paper.")
    ] = False,
) -> None:
    """Show the scores of runs on disk, finished or not."""
    with errors_reported():
        read = [read_run(run) for run in runs]
        if html is not None:
            report_files.write_html(read, runs, html)
            tell(f"The report is in {html}.")
        elif markdown:
            out.print(report_files.markdown_report(read), markup=False, highlight=False, soft_wrap=True, end="")
        else:
            show(read, json=json)


def view(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Run folders, or folders of run folders. Default: runs.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the dashboard; 0 chooses a free one.", min=0, max=65_535)] = 8000,
) -> None:
    """Show runs on disk in the dashboard, a page in the browser. Needs neither models nor Redis."""
    with errors_reported():
        check_packages()
    settings = {**python_environment(), "WAYMARK_PORT": str(port)}
    command = python_command("services.env_runner", "view", *(str(run.absolute()) for run in runs or ()))
    os.execve(command[0], command, settings)  # noqa: S606 - no shell is wanted


def export_run(
    run: Annotated[Path, typer.Argument(help="Run folder, e.g. runs/ID.")],
    file: Annotated[
        Path | None,
        typer.Argument(help=f"File to write. Its ending names the format: {_ENDINGS}.", show_default=False),
    ] = None,
    form_name: Annotated[
        Literal["csv", "jsonl", "parquet", "inspect"] | None,
        typer.Option("--format", help="Format; `inspect` is a log for Inspect AI. Default: by the file's ending."),
    ] = None,
) -> None:
    """Write the results of a run to a file, one row an episode. All formats but CSV hold every turn."""
    with errors_reported():
        if form_name is not None:
            tell(report_files.export_as(run, file, form_name))
            return
        if file is None:
            raise InvalidInput("No file is named.", remedy=f"Name one that ends in {_ENDINGS}.", field="file")
        form = next((name for name in MEDIA_TYPES if file.suffix == f".{name}"), None)
        if form is None:
            raise InvalidInput(f"{file} names no format.", remedy=f"Give a name that ends in {_ENDINGS}.", field="file")
        folder = RunFolder(run)
        evaluation = folder.evaluation()
        pieces = export.encode(folder.checked_results(), form)
        if file.is_dir() or not file.absolute().parent.is_dir():
            problem = f"{file} is a folder" if file.is_dir() else f"There is no folder {file.absolute().parent}"
            raise InvalidInput(f"{problem}.", remedy="Name a file in a folder that exists.", field="file")
        try:
            export.write(pieces, file)
        except OSError as error:
            raise unavailable(file, error) from error
        tell(f"The finished ones of its {evaluation.episodes} episodes are in {file}.")


def show_comparison(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, e.g. runs/ID. The others are compared with the first.")
    ],
    json: JsonOption = False,
) -> None:
    """Compare runs on the variations that all of them have played."""
    with errors_reported():
        comparison = compare([read_run(run) for run in runs])
        if json:
            out.print_document(comparison.model_dump(mode="json"))
        else:
            out.print(terminal_report.render_comparison(comparison))


def read_run(path: Path) -> Run:
    """Read a run on disk, and print how much of it is missing. Raises InvalidInput for a run of several checkpoints."""
    folder = RunFolder(path)
    evaluation = folder.evaluation()
    makers = Makers(evaluation.versions)
    results = [makers.add(result).without_trajectory() for result in folder.checked_results()]
    makers.check(str(path))
    if len(results) < evaluation.episodes:
        tell(f"{len(results)} of {evaluation.episodes} episodes are in {path}.")
    return Run(evaluation.id, evaluation.request, evaluation.versions, results)
