"""Routes that describe the worlds: what pages, forms and scripts need to know to show a run of any world.

Nothing here starts a simulator; a world whose simulator is not installed is described all the same.
"""

from __future__ import annotations

import inspect
from typing import Annotated

from fastapi import FastAPI, Path

from waymark.agent.rules import Rule
from waymark.contracts import Contract
from waymark.worlds.base import LOWEST, SOLVED, SPLITS, World
from waymark.worlds.registry import WORLD_NAMES, get_world

_WorldName = Annotated[str, Path(pattern=r"^[0-9a-z-]{1,100}$", description="As `GET /v1/worlds` names it.")]


class TaskOption(Contract):
    """A task type that can be played."""

    id: str
    name: str
    group: str
    variations: int
    """Numbers 0 to this minus one."""
    splits: dict[str, tuple[int, int]]
    """The first variation of each split and the one after its last."""


class ProtocolOption(Contract):
    """A protocol and what it means."""

    name: str
    description: str
    split: str
    """Whose variations are played: `train`, `dev` or `test`."""
    variations: int | None
    """The first this many variations of each task's split; null: all of them."""
    moves: int
    """An episode ends after this many moves."""


class RuleOption(Contract):
    """A rule of play that agents may use."""

    name: str
    """As `AgentConfig.rules` takes it."""
    description: str
    """What it does, in a sentence."""


class WorldInfo(Contract):
    """One world: its tasks, protocols and rules, and what was published for it."""

    name: str
    """As requests and `WAYMARK_ENVIRONMENT` take it, e.g. `scienceworld`."""
    title: str
    """The name in reports, e.g. `ScienceWorld`."""
    groups: tuple[str, ...]
    """Of task types, in the order of reports."""
    tasks: tuple[TaskOption, ...]
    protocols: tuple[ProtocolOption, ...]
    """The first is the default."""
    rules: tuple[RuleOption, ...]
    """In the order in which they are applied."""
    default_options: str
    """What the world is played with unless a request names other options."""
    lowest_score: int
    """The lowest raw score of an episode, in points."""
    solved_score: int
    """The score of a solved episode, in points."""
    published: tuple[str, ...]
    """The published methods whose scores stand beside a run's, in the order of columns; empty where there are none."""


class Worlds(Contract):
    """Answer of `GET /v1/worlds`."""

    items: tuple[WorldInfo, ...]


def install(app: FastAPI) -> None:
    """Give an app these routes."""

    @app.get("/v1/worlds")
    def worlds() -> Worlds:
        """Every world that this version knows, whether or not its simulator is installed."""
        return Worlds(items=tuple(describe(get_world(name)) for name in WORLD_NAMES))

    @app.get("/v1/worlds/{world}")
    def one_world(world: _WorldName) -> WorldInfo:
        """One world. An unknown name is refused with 422, and the answer lists the names."""
        return describe(get_world(world))


def describe(world: World) -> WorldInfo:
    """What there is to know of a world without its simulator."""
    return WorldInfo(
        name=world.name,
        title=world.title,
        groups=world.groups,
        tasks=tuple(
            TaskOption(
                id=task.id,
                name=task.name,
                group=task.group,
                variations=task.variations,
                splits={split: (task.split(split).start, task.split(split).stop) for split in SPLITS},
            )
            for task in world.tasks
        ),
        protocols=tuple(
            ProtocolOption(
                name=protocol.name,
                description=protocol.description,
                split=protocol.split,
                variations=protocol.variations,
                moves=protocol.moves,
            )
            for protocol in world.protocols.values()
        ),
        rules=tuple(RuleOption(name=rule.name, description=_first_sentence(rule)) for rule in world.agent.rules),
        default_options=world.default_options,
        lowest_score=LOWEST,
        solved_score=SOLVED,
        published=tuple(world.published.columns),
    )


def _first_sentence(rule: Rule) -> str:
    """The first paragraph of the rule's docstring, which says in a sentence what it does."""
    return " ".join(inspect.cleandoc(type(rule).__doc__ or "").partition("\n\n")[0].split())
