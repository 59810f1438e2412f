"""The closing table of an evaluation, as rich renderables: ours beside the published figures, and what errored; and
that of several agents side by side.

Nothing is printed here. The console decides on colour and width; task names give way first when it is narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from waymark.agent.named_agents import name_of
from waymark.contracts import Effort, EvaluationRequest, Summary, TaskScore, Versions
from waymark.evaluation.comparison import Comparison
from waymark.evaluation.intervals import average
from waymark.evaluation.published_comparison import published_methods, published_notes
from waymark.evaluation.requested_episodes import split_of
from waymark.evaluation.scores import world_played
from waymark.terminal_table import Column, FittingTable
from waymark.worlds.base import World
from waymark.worlds.registry import get_world

_NONE = "–"
_NOT_AVAILABLE = "n/a"
_PAIRED = (
    "Differences are means over task types of the differences on the same variation; their intervals resample "
    "variations as pairs, within each type that has at least three."
)
_PLAYED_ONCE = "Each variation was played once by each agent, so these differences include the randomness of play."
_PLAYED_OFTEN = (
    "Each variation was played up to {repeats} times. The intervals include the choice of variations and the "
    "randomness of play; of play alone: {alone}."
)
_SHOWN_EPISODES = 6


def render(summary: Summary, request: EvaluationRequest, versions: Versions | None = None) -> Lines:
    """Everything that a person wants to know at the end of an evaluation."""
    if not summary.tasks:
        return Lines(Text("No episode was finished.", style="bold"), *_errors(summary))
    world = world_played(versions)
    return Lines(
        _task_table(summary, request, world),
        Padding(_headline(summary, request, versions, world), (1, 1)),
        *([_methods(summary, world)] if world.published.agents else []),
        Padding(_footnotes(summary, request, world), (0, 1)),
        *_errors(summary),
    )


def _task_table(summary: Summary, request: EvaluationRequest, world: World) -> FittingTable:
    """One row a task type, by group, each group closed by its means. The oldest published columns go first."""
    tasks, published = summary.tasks, world.published.tasks
    methods = list(world.published.columns)
    table = FittingTable(
        [
            Column("Task"),
            Column("Name", cut=True, least=20),
            Column("n", justify="right", drop=len(methods)),
            Column("Score", justify="right"),
            Column("Solved", justify="right", drop=len(methods) + 1),
            *(Column(name, justify="right", style="cyan", drop=place) for place, name in enumerate(methods)),
        ],
        title=f"{world.title}, protocol {request.protocol}",
    )

    def add(label: str, name: str, members: Sequence[TaskScore], style: str = "") -> None:
        table.add_row(
            label,
            name,
            str(sum(task.episodes for task in members)),
            _points(average(task.mean for task in members)),
            _percent(average(task.success_rate for task in members)),
            *(_points(average(published[task.id][method] for task in members)) for method in methods),
            style=style,
        )

    for group in world.groups:
        members = [task for task in tasks if task.group == group]
        for task in members:
            add(task.id, task.name, [task])
        if members:
            add("", f"{group}: mean of {len(members)}", members, style="bold")
            table.add_section()
    add("", f"all: mean of {len(tasks)}", tasks, style="bold reverse")
    return table


def _headline(summary: Summary, request: EvaluationRequest, versions: Versions | None, world: World) -> Text:
    """The score in a sentence, what it was made of, and what made it."""
    interval = _range(summary.ci95) if summary.ci95 else "n/a, too few variations"
    text = Text()
    text.append(f"Score {_points(summary.mean)}", style="bold green")
    text.append(f" of 100, mean over {len(summary.tasks)} task types (95% interval: {interval}).\n")
    if summary.repeats > 1:
        alone = _range(summary.ci95_play) if summary.ci95_play else "n/a, too few plays"
        means = ", ".join(map(_points, summary.repeat_means))
        text.append(
            f"Each variation was played up to {summary.repeats} times. The interval includes the choice of variations "
            f"and the randomness of play. Of play alone: {alone}. Repeats scored {means}.\n"
        )
    text.append(
        f"{summary.episodes} episodes, {_percent(summary.success_rate)} solved. "
        f"Raw mean {_points(summary.raw_mean)}, of the last non-negative scores "
        f"{_points(summary.last_nonnegative_mean)}.\n"
    )
    effort = summary.effort
    text.append(
        f"An episode took {effort.actions:.0f} actions, {effort.moves:.0f} moves, {effort.turns:.0f} turns, "
        f"{effort.model_calls:.0f} model calls, {effort.tokens:,.0f} tokens and {effort.seconds:.1f} s; "
        f"{effort.repaired:.1f} actions were repaired.\n"
    )
    if summary.rules:
        text.append(f"Rules acted: {', '.join(f'{rule} {turns}' for rule, turns in summary.rules.items())} (turns).\n")
    agent = request.agent
    text.append(f"{_described(request, world)}." if _as_protocol(request) else "Tasks of one's own choice.")
    text.append(f" Agent: {name_of(agent)}; sub-goals: {agent.subgoals}")
    text.append("" if agent.subgoals == "none" else f" ({agent.controller_calls})")
    text.append(f"; repair {f'by {agent.repair_by}' if agent.repair else 'off'}; ")
    text.append("greedy decoding." if agent.beams == 1 else f"beam {agent.beams}.")
    if versions is not None:
        models = (versions.controller, versions.first, versions.executor)
        named = ", ".join(
            f"{model.role} {model.checkpoint} ({model.engine} {model.dtype})" for model in models if model is not None
        )
        text.append(f"\nwaymark {versions.waymark}, {versions.environment}; {named}.", style="dim")
    return text


def _methods(summary: Summary, world: World) -> FittingTable:
    """This run's means beside the published ones."""
    groups = [Column(group.capitalize(), justify="right", drop=1) for group in world.groups]
    table = FittingTable(
        [
            Column("Method", wrap=True),
            Column("Model", wrap=True, drop=0),
            Column("Overall", justify="right"),
            *groups,
            Column("From", justify="right", style="dim"),
        ],
        title="Beside published agents",
    )
    sources = _sources(world)
    for method in published_methods(world):
        table.add_row(
            method.method,
            method.model,
            _points(method.overall),
            *(_points(method.groups.get(group)) for group in world.groups),
            Text(f"[{sources.index(method.provenance) + 1}]"),
        )
    table.add_section()
    table.add_row(
        "Waymark",
        "this run",
        _points(summary.mean),
        *(_points(summary.groups.get(group)) for group in world.groups),
        "here",
        style="bold",
    )
    return table


def _sources(world: World) -> list[str]:
    """Where the published figures come from, each once; their places are the table's footnotes."""
    return list(dict.fromkeys(method.provenance for method in published_methods(world)))


def _footnotes(summary: Summary, request: EvaluationRequest, world: World) -> Text:
    """What the figures may and may not be compared for."""
    notes = [f"[{number}] {source}." for number, source in enumerate(_sources(world), start=1)]
    chosen = (
        "" if len(summary.tasks) == len(world.tasks) else f", {len(summary.tasks)} of {len(world.tasks)} task types"
    )
    ours = f"[here] measured in this run, protocol {request.protocol}{chosen}."
    return Text("\n".join([*notes, ours, *summary.randomness, " ".join(published_notes(request, world))]), style="dim")


def _errors(summary: Summary) -> list[RenderableType]:
    """Errored episodes by kind; nothing when there are none."""
    if not summary.errors:
        return []
    table = FittingTable(
        [
            Column("Error", style="red", wrap=True),
            Column("n", justify="right"),
            Column("The first of them", wrap=True),
            Column("Task/variation", wrap=True, drop=0),
        ],
        title="Errored episodes, counted as 0",
        title_style="red",
    )
    for error in summary.errors:
        shown = ", ".join(error.episodes[:_SHOWN_EPISODES])
        more = len(error.episodes) - _SHOWN_EPISODES
        where = f"{shown} and {more} more" if more > 0 else shown
        table.add_row(error.kind, str(len(error.episodes)), Text(error.message), where)
    return [table]


# --- several agents ----------------------------------------------------------------------------------------


def render_comparison(comparison: Comparison) -> Lines:
    """Agents on the same variations: scores, their differences, what an episode took, and the scores by task."""
    errors = [
        f"{agent.name}: {count} episodes errored with {kind}, counted as 0."
        for agent in comparison.agents
        for kind, count in agent.errors.items()
    ]
    return Lines(
        _scores_of(comparison),
        _differences_of(comparison),
        _effort_of(comparison),
        _tasks_of(comparison),
        Text("\n".join([*errors, *comparison.notes, _PAIRED, _repeats_note(comparison)]), style="dim"),
    )


def _repeats_note(comparison: Comparison) -> str:
    """How far the intervals of the differences include the randomness of play."""
    if comparison.repeats == 1:
        return _PLAYED_ONCE
    alone = ", ".join(
        f"{difference.agent} {_range(difference.ci95_play, signed=True)}" for difference in comparison.differences
    )
    return _PLAYED_OFTEN.format(repeats=comparison.repeats, alone=alone)


def _scores_of(comparison: Comparison) -> FittingTable:
    shared = f"{comparison.variations} shared variations of {comparison.task_types} task types"
    table = _figures(shared, ("Agent",), ("Score", "95% interval", "Solved", "Raw", "Last ≥ 0"))
    for agent in comparison.agents:
        table.add_row(
            agent.name,
            _points(agent.mean),
            _range(agent.ci95),
            _percent(agent.success_rate),
            _points(agent.raw_mean),
            _points(agent.last_nonnegative_mean),
        )
    return table


def _differences_of(comparison: Comparison) -> FittingTable:
    against = f"Minus {comparison.agents[0].name}"
    table = _figures(against, ("Agent",), ("Difference", "95% interval", "Better", "Equal", "Worse"))
    for difference in comparison.differences:
        counts = (difference.better, difference.equal, difference.worse)
        table.add_row(
            difference.agent, f"{difference.mean:+.1f}", _range(difference.ci95, signed=True), *map(str, counts)
        )
    return table


def _effort_of(comparison: Comparison) -> FittingTable:
    table = _figures("What an episode took", ("Mean",), tuple(agent.name for agent in comparison.agents))
    for name in Effort.model_fields:
        means = [getattr(agent.effort, name) for agent in comparison.agents]
        places = 1 if name in {"repaired", "seconds"} else 0
        table.add_row(name.replace("_", " "), *(f"{mean:,.{places}f}" for mean in means))
    table.add_row("episodes errored", *(str(sum(agent.errors.values())) for agent in comparison.agents))
    return table


def _tasks_of(comparison: Comparison) -> FittingTable:
    table = _figures("By task", ("Task", "Name"), tuple(agent.name for agent in comparison.agents))
    for task in get_world(comparison.world).tasks:
        means = [agent.tasks.get(task.id) for agent in comparison.agents]
        if means[0] is not None:
            table.add_row(task.id, task.name, *map(_points, means))
    return table


def _figures(title: str, names: Sequence[str], figures: Sequence[str]) -> FittingTable:
    """An empty table whose figures are never cut; the last of them go first where there is no room, never the first."""
    return FittingTable(
        [
            *(Column(name, cut=name == "Name", wrap=name != "Name") for name in names),
            *(Column(name, justify="right", drop=-place if place else None) for place, name in enumerate(figures)),
        ],
        title=title,
    )


def _range(interval: tuple[float, float] | None, *, signed: bool = False) -> str:
    if interval is None:
        return _NOT_AVAILABLE
    low, high = interval
    return f"{low:+.1f} to {high:+.1f}" if signed else f"{low:.1f} to {high:.1f}"


def _described(request: EvaluationRequest, world: World) -> str:
    """What a protocol plays, or what it played when the run was made."""
    protocol = world.protocols[request.protocol]
    split = split_of(request, protocol)
    return protocol.description if split == protocol.split else f"The {split} variations that {protocol.name} played"


def _as_protocol(request: EvaluationRequest) -> bool:
    return request.tasks is None and request.variations is None and request.limits is None


def _points(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
