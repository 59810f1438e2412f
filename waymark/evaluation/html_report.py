"""A report as one HTML page without network and scripts; plots are inline SVG.

Everything that comes from a run is escaped. A content security policy in the page forbids scripts and foreign content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from waymark.agent.named_agents import name_of
from waymark.contracts import EpisodeResult, Summary
from waymark.evaluation.comparison import Run
from waymark.evaluation.failure_modes import FailureMode, failure_modes, last_gain, mode_of
from waymark.evaluation.published_comparison import beside_published, published_notes
from waymark.evaluation.run_differences import RunComparison, compare_runs
from waymark.evaluation.scores import name_of_episode, summarise, world_played
from waymark.evaluation.svg_plots import bars, differences, score_line
from waymark.worlds.base import World
from waymark.worlds.registry import get_world

MOST_EXAMPLES = 12
"""Largest number of examples of failed episodes on a page, of all runs together."""
_SHOWN_TURNS = 40
_TEXT = 600
_STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--raised:#fff;--ink:#1d2428;--soft:#56626a;--line:#dedbd3;
--accent:#0f766e;--theirs:#3b5f93;--bad:#b3261e;--good:#17704a}
@media(prefers-color-scheme:dark){:root{--paper:#14191b;--raised:#1b2225;--ink:#e4e8e6;--soft:#a3b0b4;
--line:#313b3f;--accent:#4fc4b6;--theirs:#9dbbe8;--bad:#ff9a91;--good:#6fd3a1}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem clamp(.75rem,3vw,2rem) 4rem;background:var(--paper);
color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
h1{font-size:1.5rem}
h2{font-size:1.2rem;margin:2.2rem 0 .5rem}
h3{font-size:1rem;margin:1.4rem 0 .3rem}
.wide{overflow-x:auto;margin:.6rem 0}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{padding:.3rem .8rem .3rem 0;text-align:left;vertical-align:top}
th{color:var(--soft);border-bottom:1px solid var(--line)}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.theirs{color:var(--theirs)}
.mean{font-weight:650}
.note{color:var(--soft);font-size:.9rem}
.loss{color:var(--bad)}
.gain{color:var(--good)}
a{color:var(--accent)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem;margin:.2rem 0}
svg{max-width:100%;min-width:38rem;height:auto;display:block}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}
.scale{fill:var(--line)}
.bar{fill:var(--accent)}
.minus{fill:var(--bad)}
.whisker,.zero{stroke:var(--ink)}
.mark{stroke:var(--theirs);stroke-width:2}
.line{fill:none;stroke:var(--accent);stroke-width:2}
section.example{border:1px solid var(--line);border-radius:8px;background:var(--raised);padding:.3rem 1rem 1rem;
margin:1rem 0}
@media print{section.example{break-inside:avoid}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def html_report(runs: Sequence[Run], examples: Mapping[str, EpisodeResult]) -> str:
    """The page. `examples` are whole results by id, of those that `wanted_examples` names."""
    title = runs[0].id if len(runs) == 1 else f"{len(runs)} runs compared"
    parts = [f"<h1>{_text(title)}</h1>"]
    if len(runs) > 1:
        parts.append(_comparison(compare_runs(runs)))
    for run in runs:
        modes = failure_modes(run.results)
        parts.append(_run(run, modes, examples))
    parts += [_example(example) for example in examples.values()]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)} · Waymark</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def wanted_examples(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The episodes that the page shows: pairs of run id and episode id, one example of each mode."""
    examples = [(run.id, mode.example) for run in runs for mode in failure_modes(run.results)]
    return examples[:MOST_EXAMPLES]


# --- one run -------------------------------------------------------------------------------------------------


def _run(run: Run, modes: Sequence[FailureMode], examples: Mapping[str, EpisodeResult]) -> str:
    summary = summarise(run.results, world_played(run.versions))
    agent = name_of(run.request.agent)
    head = f"<h2>{_text(agent)} <span class=note>{_text(run.id)}, protocol {_text(run.request.protocol)}</span></h2>"
    if not summary.tasks:
        return head + "<p>No episode was finished.</p>"
    ci95 = "too few variations for an interval" if summary.ci95 is None else f"95% interval {_range(summary.ci95)}"
    play = f"; randomness of play alone {_range(summary.ci95_play)}" if summary.ci95_play else ""
    lead = (
        f"<p><strong>Score {summary.mean:.1f}</strong> of 100, mean over {len(summary.tasks)} task types "
        f"({ci95}{play}). {summary.episodes} episodes, {100 * summary.success_rate:.0f}% solved.</p>"
    )
    provenance = ""
    if run.versions is not None:
        models = [
            checkpoint
            for checkpoint in (run.versions.controller, run.versions.first, run.versions.executor)
            if checkpoint
        ]
        named = ", ".join(
            f"{model.role} {model.checkpoint} ({model.sha256[:12] or 'no weights'}, {model.runtime})"
            for model in models
        )
        provenance = f"Played with waymark {run.versions.waymark}, {run.versions.environment}; {named}."
        provenance = f"<p class=note>{_text(provenance)}</p>"
    plot = bars(
        [(task.id, task.name, task.mean, task.ci95) for task in summary.tasks], f"Scores of {agent} by task type"
    )
    return "".join(
        [
            head,
            lead,
            provenance,
            plot,
            _tasks(run, summary, world_played(run.versions)),
            _failures(modes, examples),
            _cost(run, summary),
        ]
    )


def _tasks(run: Run, summary: Summary, world: World) -> str:
    published = beside_published(run.id, summary, world).published
    methods = list(published.methods)
    rows = []
    for group in world.groups:
        for task in summary.tasks:
            if task.group == group:
                theirs = [published.tasks[task.id][method] for method in methods]
                rows.append(_row(task.id, task.name, task.episodes, task.mean, task.ci95, task.success_rate, theirs))
        if group in summary.groups:
            members = [task for task in summary.tasks if task.group == group]
            solved = sum(task.success_rate for task in members) / len(members)
            theirs = [published.groups[group][method] for method in methods]
            count = sum(task.episodes for task in members)
            rows.append(_row("", f"{group}: mean", count, summary.groups[group], None, solved, theirs, "mean"))
    theirs = [published.overall[method] for method in methods]
    rows.append(
        _row("", "all: mean", summary.episodes, summary.mean, summary.ci95, summary.success_rate, theirs, "mean")
    )
    heads = ["Task", "Name", "Episodes", "Score", "95% interval", "Solved", *methods]
    note = f"<p class=note>{_text(' '.join([*summary.randomness, *published_notes(run.request, world)]))}</p>"
    return "<h3>Scores by task type</h3>" + _table(heads, rows, 2) + note


def _row(
    task: str,
    name: str,
    count: int,
    mean: float,
    ci95: tuple[float, float] | None,
    solved: float,
    theirs: Sequence[float],
    kind: str = "",
) -> str:
    figures = [str(count), f"{mean:.1f}", "–" if ci95 is None else _range(ci95), f"{100 * solved:.0f}%"]
    cells = "".join(f"<td class=n>{figure}</td>" for figure in figures)
    columns = "".join(f'<td class="n theirs">{their:.1f}</td>' for their in theirs)
    return f'<tr class="{kind}"><td>{_text(task)}</td><td>{_text(name)}</td>{cells}{columns}</tr>'


def _failures(modes: Sequence[FailureMode], examples: Mapping[str, EpisodeResult]) -> str:
    if not modes:
        return "<h3>How episodes failed</h3><p>Every episode was solved.</p>"
    rows = []
    for mode in modes:
        tasks = ", ".join(f"{task} ({count})" for task, count in mode.tasks.items())
        example = mode.example
        shown = examples.get(example)
        link = (
            f'<a href="#{_anchor(example)}">{_text(name_of_episode(shown))}</a>' if shown else _text(mode.episodes[0])
        )
        detail = f"<br><span class=note>{_text(mode.detail[:_TEXT])}</span>" if mode.detail else ""
        rows.append(
            f"<tr><td>{_text(mode.name)}{detail}</td><td class=n>{len(mode.episodes)}</td>"
            f"<td>{_text(tasks)}</td><td>{link}</td></tr>"
        )
    return "<h3>How episodes failed</h3>" + _table(["Outcome", "Episodes", "Tasks", "Example"], rows, 1, figures={1})


def _cost(run: Run, summary: Summary) -> str:
    effort = summary.effort
    total = {
        "episodes": summary.episodes,
        "model calls": sum(result.model_calls for result in run.results),
        "prompt tokens": sum(result.prompt_tokens for result in run.results),
        "completion tokens": sum(result.completion_tokens for result in run.results),
        "seconds of play": round(sum(result.seconds for result in run.results)),
    }
    words = ", ".join(f"{value:,} {name}" for name, value in total.items())
    average = (
        f"{effort.actions:.0f} actions, {effort.model_calls:.0f} model calls, {effort.tokens:,.0f} tokens, "
        f"{effort.seconds:.1f} s, {effort.repaired:.1f} repaired actions"
    )
    return f"<h3>Cost</h3><p>All episodes together: {words}.<br>One episode on average: {average}.</p>"


def _example(result: EpisodeResult) -> str:
    gain = last_gain(result)
    where = "No turn raised the score." if gain is None else f"The score last rose in turn {gain}."
    error = (
        f"<p class=loss>{_text(result.error.kind)}: {_text(result.error.message[:_TEXT])}</p>" if result.error else ""
    )
    first = max(0, (gain or 1) - 5)
    turns = result.trajectory[first : first + _SHOWN_TURNS]
    rows = "".join(
        f"<tr><td class=n>{turn.turn}</td><td>{_text(turn.subgoal or '')}</td>"
        f"<td>{_text(turn.action or 'sub-goal ended')}</td><td>{_text(turn.observation[:_TEXT])}</td>"
        f"<td class=n>{turn.score}</td></tr>"
        for turn in turns
    )
    left = len(result.trajectory) - len(turns)
    more = f"<p class=note>{left} other turns are left out; the run folder has them all.</p>" if left else ""
    task = _text(result.opening.task) if result.opening else ""
    return (
        f'<section class=example id="{_anchor(result.id)}"><h3>{_text(name_of_episode(result))}: '
        f"{result.raw_score} points. {_text(mode_of(result))}.</h3><p>{task}</p>{error}<p>{where}</p>"
        f"{score_line([turn.score for turn in result.trajectory], f'Score after each turn of {result.task}')}"
        f"{_table(['Turn', 'Sub-goal', 'Action', 'Observation', 'Score'], [rows], 9, figures={0, 4})}{more}</section>"
    )


# --- several runs --------------------------------------------------------------------------------------------


def _comparison(changes: RunComparison) -> str:
    comparison = changes.comparison
    agents = [
        f"<tr><td>{_text(agent.name)}</td><td class=n>{agent.mean:.1f}</td><td class=n>"
        f"{'–' if agent.ci95 is None else _range(agent.ci95)}</td><td class=n>{100 * agent.success_rate:.0f}%</td>"
        f"<td class=n>{agent.effort.tokens:,.0f}</td><td class=n>{agent.effort.seconds:.1f}</td></tr>"
        for agent in comparison.agents
    ]
    apart = [
        f"<tr><td>{_text(difference.agent)} minus {_text(difference.baseline)}</td>"
        f"<td class=n>{difference.mean:+.1f}</td>"
        f"<td class=n>{'–' if difference.ci95 is None else _range(difference.ci95, signed=True)}</td>"
        f"<td class=n>{difference.better}</td><td class=n>{difference.equal}</td>"
        f"<td class=n>{difference.worse}</td></tr>"
        for difference in comparison.differences
    ]
    names = {agent.run: agent.name for agent in comparison.agents}
    baseline = comparison.agents[0].name
    world = get_world(comparison.world)
    plots = [
        f"<h3>By task: {_text(names[run])} minus {_text(baseline)}</h3>"
        + differences(
            [
                (f"{task.task} {world.find_task(task.task).name}", task.difference, task.ci95)
                for task in changes.tasks
                if task.run == run
            ],
            f"Differences by task type of {names[run]}",
        )
        for run in changes.runs[1:]
    ]
    notes = f"<p class=note>{_text(' '.join(comparison.notes))}</p>" if comparison.notes else ""
    shared = f"{comparison.variations} variations of {comparison.task_types} task types that all runs played"
    return (
        f"<h2>Agents compared</h2><p>{shared}.</p>"
        + _table(["Agent", "Score", "95% interval", "Solved", "Tokens", "Seconds"], agents, 1)
        + _table(["Difference", "Points", "95% interval", "Better on", "Equal on", "Worse on"], apart, 1)
        + "".join(plots)
        + notes
    )


# --- words ---------------------------------------------------------------------------------------------------


def _table(heads: Sequence[str], rows: Iterable[str], names: int, *, figures: set[int] | None = None) -> str:
    right = set(range(names, len(heads))) if figures is None else figures
    cells = "".join(
        f'<th scope=col class="{"n" if place in right else ""}">{_text(head)}</th>' for place, head in enumerate(heads)
    )
    return f"<div class=wide><table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def _anchor(episode: str) -> str:
    return "episode-" + "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in episode)


def _range(ci95: tuple[float, float], *, signed: bool = False) -> str:
    low, high = ci95
    return f"{low:+.1f} to {high:+.1f}" if signed else f"{low:.1f} to {high:.1f}"


def _text(text: str) -> str:
    return escape(text, quote=True)
