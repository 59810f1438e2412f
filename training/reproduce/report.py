"""The report: a table with the published figures, and a manifest of all files with hashes."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from training.reproduce.plan import ROLES, WORLD, Settings
from training.resumable_stages import Progress
from training.user_files import sha256_of
from waymark import __version__
from waymark.agent.named_agents import name_of
from waymark.contracts import Summary
from waymark.evaluation.git_checkout import short_commit
from waymark.evaluation.published_comparison import published_methods
from waymark.evaluation.run_folder import RunFolder
from waymark.evaluation.scores import summarise
from waymark.inference.checkpoint import load

TABLE: Final = "table.md"
MANIFEST: Final = "manifest.json"
_PACKAGES: Final = ("scienceworld", "torch", "transformers", "ctranslate2")
_SHOWN: Final = ("Swift-only (Sub-goal Distillation's)", "Sub-goal Distillation", "SwiftSage")


def summaries(settings: Settings) -> dict[str, Summary]:
    """The summary of each agent, by its name."""
    by_agent = {}
    for header in sorted((settings.folder / "play").glob("*/evaluation.json")):
        run = RunFolder(header.parent)
        by_agent[name_of(run.evaluation().request.agent).partition(",")[0]] = summarise(run.checked_results())
    return by_agent


def table(settings: Settings, scores: dict[str, Summary]) -> str:
    """A Markdown table of our scores and the published ones."""
    columns = WORLD.world.groups
    lines = [
        f"# The published method, reproduced ({datetime.now(UTC).date()})",
        "",
        f"Protocol `{settings.protocol}`, paths {settings.paths}, annotator {settings.annotator}, no rules of play. "
        "Points of 100, mean over task types; 95% intervals over variations.",
        "",
        f"| agent | parameters | episodes | overall | 95% interval | {' | '.join(columns)} |",
        f"|---|---|---|---|---|{'---|' * len(columns)}",
    ]
    sizes = {role: load(settings.folder / "checkpoints" / role, role).card.parameters for role in ROLES}
    of_agent = {"published": ROLES[:3], "published_flat": ROLES[3:]}
    for name, summary in scores.items():
        parameters = " + ".join(f"{sizes[role] / 1e6:.2f} M" for role in of_agent[name])
        interval = "too few variations" if summary.ci95 is None else "{:.1f} to {:.1f}".format(*summary.ci95)
        groups = [f"{summary.groups[group]:.1f}" if group in summary.groups else "" for group in columns]
        cells = [name, parameters, str(summary.episodes), f"**{summary.mean:.1f}**", interval, *groups]
        lines.append(f"| {' | '.join(cells)} |")
    for method in published_methods():
        if method.method in _SHOWN:
            groups = [f"{method.groups[group]:.2f}" if group in method.groups else "" for group in columns]
            cells = [f"*published:* {method.method}", method.model, "", f"{method.overall:.2f}", "", *groups]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_report(settings: Settings, progress: Progress) -> str:
    """Write the table and the manifest; returns the table."""
    scores = summaries(settings)
    text = table(settings, scores)
    (settings.folder / TABLE).write_text(text)
    manifest: dict[str, Any] = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": short_commit(),
        "versions": {"waymark": __version__} | {name: version(name) for name in _PACKAGES},
        "recipes": {role: asdict(settings.recipe_of(role)) for role in ROLES},
        "stages": {
            name: {"command": stage["command"], "seconds": stage["seconds"]} for name, stage in progress.done.items()
        },
        "scores": {name: summary.model_dump(mode="json") for name, summary in scores.items()},
        "files": files(settings.folder),
    }
    (settings.folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return text


def files(folder: Path) -> dict[str, str]:
    """The hash of every file of the folder except the manifest and logs, by its path in the folder."""
    return {
        str(path.relative_to(folder)): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and not path.parent.name.startswith("logs")
    }
