"""A report as Markdown tables, for a paper or an issue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from waymark.agent.named_agents import name_of
from waymark.evaluation.comparison import Run
from waymark.evaluation.failure_modes import failure_modes
from waymark.evaluation.published_comparison import beside_published, published_notes
from waymark.evaluation.run_differences import compare_runs
from waymark.evaluation.scores import summarise, world_played

_EXAMPLES = 3


def markdown_report(runs: Sequence[Run]) -> str:
    """One run beside the published agents, or several compared. Raises InvalidInput where they share no episode."""
    blocks: list[str] = []
    for run in runs:
        blocks += _run(run)
    if len(runs) > 1:
        blocks += _comparison(runs)
    return "\n\n".join(blocks) + "\n"


def _run(run: Run) -> list[str]:
    world = world_played(run.versions)
    summary = summarise(run.results, world)
    published = beside_published(run.id, summary, world).published
    methods = list(published.methods)
    rows: list[list[str]] = []
    for group in world.groups:
        for task in summary.tasks:
            if task.group == group:
                columns = [_points(published.tasks[task.id][method]) for method in methods]
                figures = [_points(task.mean), interval(task.ci95), _percent(task.success_rate)]
                rows.append([task.id, task.name, str(task.episodes), *figures, *columns])
        if group in summary.groups:
            columns = [f"**{_points(published.groups[group][method])}**" for method in methods]
            rows.append(["", f"**{group}**", "", f"**{_points(summary.groups[group])}**", "", "", *columns])
    overall = [f"**{_points(published.overall[method])}**" if summary.tasks else "" for method in methods]
    solved = f"**{_percent(summary.success_rate)}**"
    rows.append(
        ["", "**all**", str(summary.episodes), f"**{_points(summary.mean)}**", interval(summary.ci95), solved, *overall]
    )
    effort = summary.effort
    blocks = [
        f"### {_cell(run.id)}: {_cell(name_of(run.request.agent))}, protocol {run.request.protocol}",
        table(["Task", "Name", "n", "Score", "95% interval", "Solved", *methods], rows, names=2),
        f"An episode took {effort.actions:.0f} actions, {effort.model_calls:.0f} model calls, "
        f"{effort.tokens:,.0f} tokens and {effort.seconds:.1f} s.",
        " ".join(published_notes(run.request, world)),
    ]
    modes = failure_modes(run.results)
    if modes:
        failed = [
            [_cell(mode.name), str(len(mode.episodes)), _cell(", ".join(mode.episodes[:_EXAMPLES]))] for mode in modes
        ]
        blocks.append(table(["How episodes failed", "n", "Examples"], failed, names=1))
    return blocks


def _comparison(runs: Sequence[Run]) -> list[str]:
    changes = compare_runs(runs)
    comparison = changes.comparison
    names = {agent.run: agent.name for agent in comparison.agents}
    overall = [
        [
            _cell(difference.agent),
            f"{difference.mean:+.1f}",
            interval(difference.ci95, signed=True),
            str(difference.better),
            str(difference.equal),
            str(difference.worse),
        ]
        for difference in comparison.differences
    ]
    tasks = [
        [
            task.task,
            _cell(names[task.run]),
            _points(task.baseline_mean),
            _points(task.mean),
            f"{task.difference:+.1f}",
            interval(task.ci95, signed=True),
        ]
        for task in changes.tasks
    ]
    baseline = _cell(comparison.agents[0].name)
    blocks = [
        f"### Minus {baseline}",
        table(["Agent", "Difference", "95% interval", "Better", "Equal", "Worse"], overall, names=1),
        table(["Task", "Agent", baseline, "Agent's score", "Difference", "95% interval"], tasks, names=2),
    ]
    return [*blocks, _cell(" ".join(comparison.notes))] if comparison.notes else blocks


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, names: int) -> str:
    """A table whose first `names` columns are text and whose others are figures."""
    lines = ["| " + " | ".join(heads) + " |"]
    lines.append("|" + "|".join("---" if place < names else "---:" for place in range(len(heads))) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def interval(ci95: tuple[float, float] | None, *, signed: bool = False) -> str:
    """`12.0 to 34.0`, or `n/a`."""
    if ci95 is None:
        return "n/a"
    low, high = ci95
    return f"{low:+.1f} to {high:+.1f}" if signed else f"{low:.1f} to {high:.1f}"


def _cell(text: str) -> str:
    """Text that cannot break a table or begin markup."""
    clean = " ".join(text.split())
    for sign in "\\`*_[]<>|#":
        clean = clean.replace(sign, f"\\{sign}")
    return clean


def _points(value: float) -> str:
    return f"{value:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
