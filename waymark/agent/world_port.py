"""The port through which the agent knows its world.

The agent package imports no world. A world hands it one `AgentWorld`; `waymark.worlds.registry.agent_world` finds it by
name. The defaults do nothing: a world overrides the methods that it can implement, and an agent plays without the
others.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from waymark.contracts import AgentState

if TYPE_CHECKING:
    from waymark.agent.rules import Rule


@dataclass(frozen=True)
class PlanPrompt:
    """What a large model reads before it plans a whole episode."""

    system: str
    """The system message: the world, the kinds of sub-goals, and the form of the answer."""
    example: AgentState
    """The opening of a worked example."""
    plan: tuple[str, ...]
    """Its sub-goals."""


class AgentWorld:
    """A world as the agent sees it. Methods are pure functions of their arguments."""

    name: ClassVar[str]
    """As `--world` takes it, e.g. `scienceworld`."""
    waiting_action: ClassVar[str | None] = None
    """The action of an agent that believes it is done. None: its episode ends."""
    repeatable: ClassVar[tuple[str, ...]] = ()
    """Prefixes of actions and sub-goals that may be repeated although nothing seems to change."""
    plan_prompt: ClassVar[PlanPrompt | None] = None
    """None: no large model can plan in this world."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of play that agents may use here, in the order in which they are applied."""
        from waymark.agent.rules import generic_rules

        return generic_rules(self)

    # --- scenes

    def room_of(self, look: str) -> str | None:
        """The room that a look describes, as prompts name it. None where it names none."""
        return None

    def name_rooms(self, rooms: tuple[str, ...], observation: str, look: str) -> tuple[str, ...]:
        """`AgentState.named_rooms` after one more step. By default: as `room_of` names them."""
        return with_room(rooms, self.room_of(look))

    def without_readings(self, text: str) -> str:
        """A look or an inventory without the readings of instruments, which change from step to step."""
        return text

    # --- sub-goals

    def training_subgoals(self) -> tuple[str, ...]:
        """Every distinct sub-goal of the training variations without `complete_task()`; empty if none ship."""
        return ()

    def with_random_arguments(self, subgoal: str, state: AgentState, rng: random.Random) -> str:
        """The sub-goal with its arguments replaced at random by things in sight."""
        return subgoal

    def lacks(self, source: str) -> bool:
        """Whether a source of sub-goals (`AgentConfig.subgoals`) gives none here, or only those of another one."""
        kind = type(self)
        return {
            "random": not self.training_subgoals(),
            "semi_random": kind.with_random_arguments is AgentWorld.with_random_arguments,
            "oracle": kind.annotated is AgentWorld.annotated,
            "llm_plan": self.plan_prompt is None,
        }.get(source, False)

    # --- the oracle path

    def clean_path(self, actions: Sequence[str]) -> list[str]:
        """The simulator's own path without the actions that an agent need not take."""
        return list(actions)

    def replayable_path(self, actions: Sequence[str]) -> list[str]:
        """The simulator's own path in the form in which its environment accepts it. By default unchanged."""
        return list(actions)

    def plain_action(self, action: str, answer: str, seen: str) -> str:
        """An action of that path with its objects named as the agent sees them."""
        return action

    def annotated(self, task: str, path: Sequence[tuple[str, str]]) -> list[str]:
        """The sub-goals of a path of actions and answers, by the rule annotator."""
        raise NotImplementedError(f"The world {self.name} has no rule annotator.")


def with_room(rooms: tuple[str, ...], room: str | None) -> tuple[str, ...]:
    """The rooms with `room` added, unless it is None or already among them."""
    return rooms if room is None or room in rooms else (*rooms, room)
