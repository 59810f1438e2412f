"""Reports and exports of run folders as files, for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from waymark.contracts import EpisodeResult
from waymark.evaluation import export
from waymark.evaluation.comparison import Run
from waymark.evaluation.html_report import html_report, wanted_examples
from waymark.evaluation.inspect_log import inspect_log, log_name
from waymark.evaluation.markdown_report import markdown_report
from waymark.evaluation.run_folder import RunFolder

__all__ = ["export_as", "markdown_report", "write_html"]


def write_html(runs: Sequence[Run], folders: Sequence[Path], file: Path) -> None:
    """Write the report of these runs, which lie in these folders. Raises InvalidInput where it cannot be written."""
    wanted = set(wanted_examples(runs))
    examples: dict[str, EpisodeResult] = {}
    for run, folder in zip(runs, folders, strict=True):
        ids = {episode for name, episode in wanted if name == run.id}
        examples |= {result.id: result for result in RunFolder(folder).results() if result.id in ids}
    export.write([html_report(runs, examples).encode()], file)


def export_as(run: Path, file: Path | None, form: Literal["csv", "jsonl", "parquet", "inspect"]) -> str:
    """Write a run in that format; says where it is. Without a file, or in a folder, it is named after the run."""
    folder = RunFolder(run)
    evaluation = folder.evaluation()
    name = f"{evaluation.id}.{form}"
    if form == "inspect":
        name = log_name(evaluation)
    target = Path(name) if file is None else file / name if file.is_dir() else file
    if form == "inspect":
        folder.check()
        export.write(inspect_log(evaluation, folder.results), target)
        return f"The log is in {target}; `inspect view --log-dir {target.parent}` shows it."
    export.write(export.encode(folder.checked_results(), form), target)
    return f"The finished ones of its {evaluation.episodes} episodes are in {target}."
