"""ScienceWorld as a plug-in: thirty types of science tasks (Wang et al., EMNLP 2022), PyPI `scienceworld` 1.2.3."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

from waymark.agent.world_port import AgentWorld
from waymark.worlds.base import (
    Environment,
    EnvironmentLimits,
    Grammar,
    PathStep,
    PublishedScores,
    Segment,
    TaskType,
)
from waymark.worlds.java_world import JavaWorld
from waymark.worlds.scienceworld import actions
from waymark.worlds.scienceworld.agent_world import SCIENCEWORLD
from waymark.worlds.scienceworld.annotator import annotate
from waymark.worlds.scienceworld.prompts import FORMATS
from waymark.worlds.scienceworld.protocols import PROTOCOLS
from waymark.worlds.scienceworld.published_scores import read_published_scores
from waymark.worlds.scienceworld.scene import room_of
from waymark.worlds.scienceworld.simplifications import EASY, check_simplifications
from waymark.worlds.scienceworld.tasks import GROUPS, TASKS


class ScienceWorldGrammar:
    """Implements `waymark.worlds.base.Grammar`."""

    def formal(self, action: str) -> str:
        """`use thermometer on water` as `USE(thermometer, water)`."""
        return actions.formal(actions.parse(action))

    def plain(self, formal: str) -> str:
        """`USE(thermometer, water)` as `use thermometer on water`."""
        return actions.format(actions.parse_formal(formal))


class ScienceWorld(JavaWorld):
    """Implements `World`. Needs the extra `env` to be played; everything else works without it."""

    name: ClassVar[str] = "scienceworld"
    title: ClassVar[str] = "ScienceWorld"
    tasks = TASKS
    groups = GROUPS
    protocols = PROTOCOLS
    formats = FORMATS
    default_options = EASY
    example_task = "4-2"
    example_subgoals = ("navigate_to(kitchen)", "pick_up(thermometer)")
    example_actions = ("teleport to kitchen", "pick up thermometer")
    forbidden_actions = (actions.FORBIDDEN,)
    waiting_action = "wait1"
    packages: ClassVar[tuple[str, ...]] = ("py4j", "scienceworld")
    randomness = (
        "The same command does not give the same scores twice, because of the simulator. It takes no seed, an episode "
        "depends on what its Java process played before, and processes list things in different orders. The models "
        "decode greedily, and batching changed no answer where it was measured."
    )

    @property
    def version(self) -> str:
        """For example `scienceworld 1.2.3`. Starts and imports nothing."""
        try:
            return f"scienceworld {version('scienceworld')}"
        except PackageNotFoundError:
            return "scienceworld (not installed where the env-runner's app runs)"

    @property
    def grammar(self) -> Grammar:
        """The functional form of the published models, extended to every action of the environment."""
        return ScienceWorldGrammar()

    @cached_property
    def published(self) -> PublishedScores:  # type: ignore[override]  # read when first asked for
        """From the tables in `published/`."""
        return read_published_scores()

    @property
    def agent(self) -> AgentWorld:
        """See `agent_world`."""
        return SCIENCEWORLD

    def open(self, limits: EnvironmentLimits) -> Environment:
        """Start a simulator; 3 to 5 s."""
        from waymark.worlds.scienceworld.environment import ScienceWorldSlot

        return ScienceWorldSlot(memory_mb=limits.memory_mb, timeout=limits.timeout, cache=limits.cache)

    def check_options(self, options: str, tasks: Sequence[TaskType]) -> None:
        """Options are the simulator's simplifications: labels between commas."""
        check_simplifications(options, tasks)

    def room_of(self, look: str) -> str | None:
        """The room that a look describes, with `greenhouse` in one word."""
        return room_of(look)

    def annotate(self, task: str, steps: Sequence[PathStep]) -> list[Segment]:
        """Split a path by the rules of `subgoals`."""
        return annotate(task, steps)


WORLD = ScienceWorld()
