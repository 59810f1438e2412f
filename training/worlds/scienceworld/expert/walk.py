"""The actions that all families of tasks use to find, fetch, carry and wait for things, based only on observations."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from waymark.contracts import Opening
from waymark.worlds.base import SOLVED, Step
from waymark.worlds.scienceworld.scene import holds, room_of

ROOMS = (
    *("kitchen", "workshop", "living room", "art studio", "bathroom"),
    *("bedroom", "greenhouse", "foundry", "outside", "hallway"),
)
"""The order in which rooms are searched."""
_PATIENCE = 45
"""Number of waits for one thing before the path is given up."""
_LONGEST = 140
"""Number of actions before a path is given up."""
_BEGINNINGS = ("teleport to ", "pick up ", "focus on ", "open ", "move ", "read ")
"""Actions with which sub-goals begin. A perturbation is inserted between two sub-goals, never inside one."""
_KEPT_SHUT = ("door to", "bee hive", "toilet", "blast furnace", "oven")


class Simulator(Protocol):
    """The part of the environment that a walk uses."""

    def step(self, action: str) -> Step:
        """Take one action."""
        ...


class Unsolved(Exception):
    """The expert does not reach the goal here; the oracle's own path is used instead."""


class Solved(Exception):
    """The score has reached 100, so the path ends."""


@dataclass(frozen=True)
class Taken:
    """One action of a walk and its result."""

    action: str
    step: Step
    is_perturbation: bool
    """Whether it was inserted on purpose and does not lead to the goal."""


@dataclass
class Walk:
    """An expert that acts only on what it observes. `taken` is its path so far."""

    simulator: Simulator
    opening: Opening
    oracle: Sequence[str]
    perturbation_rate: float = 0.0
    """Probability of a perturbation before an action, 0 to 1."""
    rng: random.Random = field(default_factory=random.Random)
    taken: list[Taken] = field(default_factory=list)

    @property
    def solved(self) -> bool:
        """Whether the score has reached 100."""
        return bool(self.taken) and self.taken[-1].step.score >= SOLVED

    @property
    def task(self) -> str:
        """The task description."""
        return self.opening.task

    @property
    def look(self) -> str:
        """The present look of the room."""
        return self.taken[-1].step.look if self.taken else self.opening.look

    @property
    def inventory(self) -> str:
        """The present inventory."""
        return self.taken[-1].step.inventory if self.taken else self.opening.inventory

    @property
    def answer(self) -> str:
        """The simulator's last answer."""
        return self.taken[-1].step.observation if self.taken else ""

    @property
    def room(self) -> str:
        """Where the agent is."""
        return room_of(self.look) or ""

    def act(self, action: str) -> None:
        """Take an action, perhaps after a perturbation. Raises Unsolved if it is not known, Solved at the goal."""
        begins = action.startswith(_BEGINNINGS) and not action.startswith("move jug ")
        if self.perturbation_rate and begins and self.rng.random() < self.perturbation_rate:
            room = self.room
            self._perturb()
            if not action.startswith("teleport to "):
                self.go(room)
        self._take(action.lower(), is_perturbation=False)

    def go(self, room: str) -> None:
        """Go to a room, unless the expert is there."""
        if self.room != room:
            self.act(f"teleport to {room}")

    def sees(self, thing: str) -> bool:
        """Whether a thing is listed in the room."""
        return bool(re.search(rf"\b{re.escape(thing)}\b", self.look, re.IGNORECASE))

    def has(self, thing: str) -> bool:
        """Whether a thing is carried."""
        return bool(re.search(rf"\b{re.escape(thing)}\b", self.inventory, re.IGNORECASE))

    def open_all(self, wanted: str) -> bool:
        """Open closed containers here until the wanted thing is seen. Returns whether it is."""
        while not self.sees(wanted):
            shut = [
                name for name in re.findall(r"The ([a-z ]+) door is closed", self.look) if not name.endswith(_KEPT_SHUT)
            ]
            if not shut:
                return False
            self.act(f"open {shut[0]}")
        return True

    def find(self, thing: str, first: Sequence[str] = ()) -> None:
        """Search for a thing: first in sight, then in one room after another, opening containers."""
        if self.sees(thing) or self.has(thing):
            return
        for room in dict.fromkeys((*first, *ROOMS)):
            self.go(room)
            if self.open_all(thing):
                return
        raise Unsolved(f"{thing} is nowhere to be seen")

    def fetch(self, thing: str, room: str) -> None:
        """Carry a thing that lies in a known room, unless it was carried elsewhere."""
        while not self.has(thing):
            self.go(room)
            if not self.open_all(thing):
                self.find(thing)
            self.act(f"pick up {thing}")

    def carry(self, thing: str) -> None:
        """Pick up a thing, wherever it is."""
        if not self.has(thing):
            self.find(thing)
            self.act(f"pick up {thing}")

    def did(self, action: str) -> bool:
        """Whether an action was taken before."""
        return any(taken.action == action for taken in self.taken)

    def focus(self, thing: str) -> None:
        """Focus on a thing, unless that was done."""
        if not self.did(f"focus on {thing}"):
            self.act(f"focus on {thing}")

    def holds(self, vessel: str, thing: str) -> bool:
        """Whether a vessel in sight holds a thing."""
        return holds(f"{self.look}\n{self.inventory}", vessel, thing)

    def follow(self, actions: Sequence[str]) -> None:
        """Replay the actions of another agent."""
        for action in actions:
            self._take(action, is_perturbation=True)

    def wait_until(self, seen: Callable[[], bool]) -> None:
        """Wait step by step until a condition holds. Raises Unsolved if it never does."""
        for _ in range(_PATIENCE):
            if seen():
                return
            self.act("wait1")
        raise Unsolved("waited in vain")

    def oracle_object(self, opening: str) -> str:
        """The object of the oracle's last action with this beginning. Raises Unsolved if there is none."""
        for action in reversed(self.oracle):
            if action.startswith(opening):
                return action.removeprefix(opening).strip()
        raise Unsolved(f"the oracle never says {opening!r}")

    def _take(self, action: str, *, is_perturbation: bool) -> None:
        if len(self.taken) >= _LONGEST:
            raise Unsolved("too long")
        step = self.simulator.step(action)
        if not step.known:
            if is_perturbation:
                return
            raise Unsolved(f"{action!r} is not known")
        self.taken.append(Taken(action, step, is_perturbation))
        if step.score >= SOLVED:
            raise Solved
        if step.score < 0:
            raise Unsolved(f"{action!r} is wrong")

    def _perturb(self) -> None:
        """One move that leads nowhere."""
        kind = self.rng.random()
        shut = re.findall(r"The ([a-z ]+) door is closed", self.look)
        if kind < 0.6:
            self._take(f"teleport to {self.rng.choice(ROOMS)}", is_perturbation=True)
        elif kind < 0.8 and shut:
            self._take(f"open {self.rng.choice(shut)}", is_perturbation=True)
        else:
            self._take("wait1", is_perturbation=True)


def words_of(pattern: str, text: str) -> tuple[str, ...]:
    """The groups of a pattern in a task. Raises Unsolved if the task reads otherwise."""
    match = re.search(pattern, text, re.IGNORECASE)
    if not match:
        raise Unsolved("the task reads otherwise")
    return tuple(group.strip().lower() for group in match.groups())


def vessel_of(walk: Walk, thing: str) -> str | None:
    """The cup, jar or pot in sight that holds a thing, by its listed name; None if the thing is in none."""
    text = f"{walk.look}\n{walk.inventory}"
    for name, content in re.findall(r"an? ([a-z ]+?) \(containing ([^()]*)\)", text):
        if re.search(rf"\b{re.escape(thing)}\b", content, re.IGNORECASE) and name not in ("sink", "toilet", "bathtub"):
            return str(name)
    return None
