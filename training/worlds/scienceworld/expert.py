"""Direct oracle paths: what the oracle does, by the shortest way that an agent can find by looking.

The simulator's own paths know what no agent can see: where a thing lies, which stove is broken, how many
waits a seed needs. Copying them teaches guessing. Here each family of tasks is played anew: the oracle's path
says *what* (which box, which animal, which paints), what is seen decides *when* and *where*:

- nothing is fetched before it is seen; what is not in sight is looked for, room after room, container after
  container, always in the same order;
- of several things that would do, the first that is listed is taken;
- waiting ends when what was waited for is there, not after a number of ticks;
- heating is done in the blast furnace, which always works; a stove may turn out to be broken, and is then left;
- what an answer depends on is measured first, and the reading stays in sight of the agent.

The simulator keeps nearly all that training tasks ask for in the kitchen. So that agents learn to search the other
rooms, `misplace` carries a thing elsewhere before a path begins.

A path is kept only if it reaches 100. With `detours`, moves that lead nowhere are thrown in (another room,
something picked up or opened); they are recorded as `detour`, so that what is learnt is the way back.
"""

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
"""Waits for one thing before the path is given up."""
_LONGEST = 140
"""Actions before a path is given up."""
_BEGINNINGS = ("teleport to ", "pick up ", "focus on ", "open ", "move ", "read ")
"""What sub-goals begin with: a detour lies between two of them, never inside one."""
_KEPT_SHUT = ("door to", "bee hive", "toilet", "blast furnace", "oven")


class Simulator(Protocol):
    """What a walk needs of the environment."""

    def step(self, action: str) -> Step:
        """Take one action."""
        ...


class Unsolved(Exception):
    """The direct way does not lead to the goal here; the oracle's own is taken instead."""


class Solved(Exception):
    """The score has reached 100: nothing more is to be done."""


@dataclass(frozen=True)
class Taken:
    """One action of a walk and what came of it."""

    action: str
    step: Step
    detour: bool


@dataclass
class Walk:
    """An agent that looks before it acts. `taken` is its path so far."""

    simulator: Simulator
    opening: Opening
    oracle: Sequence[str]
    detours: float = 0.0
    """How likely a detour is before an action; 0: none."""
    chance: random.Random = field(default_factory=random.Random)
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
        """What the room looks like now."""
        return self.taken[-1].step.look if self.taken else self.opening.look

    @property
    def inventory(self) -> str:
        """What is carried now."""
        return self.taken[-1].step.inventory if self.taken else self.opening.inventory

    @property
    def answer(self) -> str:
        """What the simulator said last."""
        return self.taken[-1].step.observation if self.taken else ""

    @property
    def room(self) -> str:
        """Where the agent is."""
        return room_of(self.look) or ""

    def act(self, action: str) -> None:
        """Take an action, perhaps after a detour. Raises Unsolved if it is not known, Solved at the goal."""
        begins = action.startswith(_BEGINNINGS) and not action.startswith("move jug ")
        if self.detours and begins and self.chance.random() < self.detours:
            room = self.room
            self._stray()
            if not action.startswith("teleport to "):
                self.go(room)
        self._take(action.lower(), detour=False)

    def go(self, room: str) -> None:
        """Be in a room."""
        if self.room != room:
            self.act(f"teleport to {room}")

    def sees(self, thing: str) -> bool:
        """Whether a thing is listed in the room."""
        return bool(re.search(rf"\b{re.escape(thing)}\b", self.look, re.IGNORECASE))

    def has(self, thing: str) -> bool:
        """Whether a thing is carried."""
        return bool(re.search(rf"\b{re.escape(thing)}\b", self.inventory, re.IGNORECASE))

    def open_all(self, wanted: str) -> bool:
        """Open what is shut here until the wanted thing is seen; whether it is."""
        while not self.sees(wanted):
            shut = [
                name for name in re.findall(r"The ([a-z ]+) door is closed", self.look) if not name.endswith(_KEPT_SHUT)
            ]
            if not shut:
                return False
            self.act(f"open {shut[0]}")
        return True

    def find(self, thing: str, first: Sequence[str] = ()) -> None:
        """Look for a thing: here if it lies open, then room after room, opening what is shut."""
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
        """Carry a thing, wherever it lies."""
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

    def stray(self, actions: Sequence[str]) -> None:
        """Follow somebody else, who does not know the way."""
        for action in actions:
            self._take(action, detour=True)

    def wait_until(self, seen: Callable[[], bool]) -> None:
        """Wait step by step. Raises Unsolved when nothing comes of it."""
        for _ in range(_PATIENCE):
            if seen():
                return
            self.act("wait1")
        raise Unsolved("waited in vain")

    def oracle_object(self, opening: str) -> str:
        """The object of the oracle's last action that starts so. Raises Unsolved if it has none."""
        for action in reversed(self.oracle):
            if action.startswith(opening):
                return action.removeprefix(opening).strip()
        raise Unsolved(f"the oracle never says {opening!r}")

    def _take(self, action: str, *, detour: bool) -> None:
        if len(self.taken) >= _LONGEST:
            raise Unsolved("too long")
        step = self.simulator.step(action)
        if not step.known:
            if detour:
                return
            raise Unsolved(f"{action!r} is not known")
        self.taken.append(Taken(action, step, detour))
        if step.score >= SOLVED:
            raise Solved
        if step.score < 0:
            raise Unsolved(f"{action!r} is wrong")

    def _stray(self) -> None:
        """One move that leads nowhere."""
        kind = self.chance.random()
        shut = re.findall(r"The ([a-z ]+) door is closed", self.look)
        if kind < 0.6:
            self._take(f"teleport to {self.chance.choice(ROOMS)}", detour=True)
        elif kind < 0.8 and shut:
            self._take(f"open {self.chance.choice(shut)}", detour=True)
        else:
            self._take("wait1", detour=True)


def _words(pattern: str, text: str) -> tuple[str, ...]:
    """The groups of a pattern in a task. Raises Unsolved if the task reads otherwise."""
    found = re.search(pattern, text, re.IGNORECASE)
    if not found:
        raise Unsolved("the task reads otherwise")
    return tuple(group.strip().lower() for group in found.groups())


def _vessel(walk: Walk, thing: str) -> str | None:
    """The cup, jar or pot in sight that holds a thing, called as it is listed; None if it lies bare."""
    text = f"{walk.look}\n{walk.inventory}"
    for name, content in re.findall(r"an? ([a-z ]+?) \(containing ([^()]*)\)", text):
        if re.search(rf"\b{re.escape(thing)}\b", content, re.IGNORECASE) and name not in ("sink", "toilet", "bathtub"):
            return str(name)
    return None


def misplace(walk: Walk, room: str) -> None:
    """Carry what a task of `MISPLACED` names to a room, close what was opened, and go back. Raises Unsolved."""
    start = walk.room
    _, thing = _changed(walk)
    walk.find(thing)
    carried = _vessel(walk, thing) or thing
    walk.act(f"pick up {carried}")
    for opened in [taken.action for taken in walk.taken if taken.action.startswith("open ")]:
        walk.act(opened.replace("open ", "close ", 1))
    walk.go(room)
    walk.act(f"drop {carried}")
    walk.go(start)


def _changed(walk: Walk) -> tuple[str, ...]:
    """What is to be done to what in 1-1 to 1-4."""
    return _words(r"to (boil|melt|freeze|change the state of matter of) ([a-z ]+)\.", walk.task)


def _change_of_state(walk: Walk) -> None:
    """1-1 to 1-4: boil, melt, freeze or change what the task names, in a metal pot."""
    verb, thing = _changed(walk)
    walk.fetch("metal pot", "kitchen")
    liquid = thing == "water"
    if liquid and walk.holds("metal pot", "water"):
        walk.focus("water")
    elif liquid:
        walk.go("foundry")
        for action in ("move metal pot to sink", "activate sink", "deactivate sink", "focus on water"):
            walk.go("foundry")
            walk.act(action)
    else:
        walk.find(thing)
        walk.focus(thing)
        walk.find(thing)
        pours = [action for action in walk.oracle if action.startswith("pour ") and action.endswith("metal pot")]
        liquid = bool(pours)
        if not walk.holds("metal pot", thing):
            walk.act(pours[0] if pours else f"move {thing} to metal pot")
    if verb == "freeze" and not liquid:
        _furnace(walk, "metal pot")
        walk.wait_until(lambda: walk.sees(f"liquid {thing}") or walk.sees("substance called water"))
    if verb == "freeze":
        _freeze(walk, "metal pot")
    if verb == "melt" and liquid:
        _freeze(walk, "metal pot", until=lambda: walk.sees("ice") or _grew(walk))
    _furnace(walk, "metal pot")
    walk.wait_until(lambda: False)


def _grew(walk: Walk) -> bool:
    """Whether the last move was rewarded: what was waited for has come, whatever it is called now."""
    scores = [taken.step.score for taken in walk.taken[-2:]]
    return len(scores) == 2 and scores[1] > scores[0]


def _furnace(walk: Walk, carried: str) -> None:
    """Put a thing into the lit blast furnace."""
    walk.carry(carried)
    walk.go("foundry")
    if "blast furnace door is closed" in walk.look:
        walk.act("open blast furnace")
        walk.go("foundry")
    walk.act(f"move {carried} to blast furnace")
    walk.go("foundry")
    if "blast furnace, which is turned on" not in walk.look:
        walk.act("activate blast furnace")


def _freeze(walk: Walk, carried: str, until: Callable[[], bool] = lambda: False) -> None:
    """Put a thing into the coldest freezer and wait."""
    walk.carry(carried)
    _into_freezer(walk, carried)
    walk.wait_until(until)


def _into_freezer(walk: Walk, carried: str) -> None:
    """Put what is carried into the coldest freezer."""
    walk.go("workshop")
    if "ultra low temperature freezer door is closed" in walk.look:
        walk.act("open ultra low temperature freezer")
        walk.go("workshop")
    walk.act(f"move {carried} to ultra low temperature freezer")
    walk.go("workshop")


def _thermometer(walk: Walk) -> None:
    walk.fetch("thermometer", "kitchen")
    walk.focus("thermometer")


def _temperature(walk: Walk) -> None:
    """2-1: measure what the task names and put it into the box that the reading calls for."""
    thing, room = _words(r"temperature of (.+?), which is located around the ([a-z ]+)\.", walk.task)
    (boxes,) = _words(r"boxes are located around the ([a-z ]+)\.", walk.task)
    box = walk.oracle_object("move ").rpartition(" to ")[2]
    _thermometer(walk)
    walk.go(room)
    if not walk.has(thing):
        walk.open_all(thing)
    walk.focus(thing)
    carried = _vessel(walk, thing) or thing
    if not walk.has(thing):
        walk.go(room)
    walk.act(f"use thermometer on {thing}")
    walk.fetch(carried, room)
    walk.go(boxes)
    walk.act(f"move {carried} to {box}")


def _melting_point(walk: Walk) -> None:
    """2-2, 2-3: heat what the task names until it melts, reading the thermometer all the way."""
    thing, room = _words(r"melting point of (.+?), which is located around the ([a-z ]+)\.", walk.task)
    (boxes,) = _words(r"boxes are located around the ([a-z ]+)\.", walk.task)
    box = walk.oracle_object("focus on ")
    freezing = any("freezer" in action and action.startswith("move") for action in walk.oracle)
    _thermometer(walk)
    walk.go(room)
    if not walk.has(thing):
        walk.open_all(thing)
    walk.focus(thing)
    carried = (_vessel(walk, thing) or thing) if freezing else thing
    walk.fetch(carried, room)
    if freezing:
        _freezing_point(walk, thing, carried, boxes, box)
        return
    walk.go("kitchen")
    walk.act(f"move {thing} to stove")
    walk.go("kitchen")
    walk.act("activate stove")
    if "broken" in walk.answer:
        _furnace(walk, thing)
    liquid = f"liquid {thing.removeprefix('solid ')}"
    readings: list[str] = []
    while not walk.sees(liquid):
        walk.act(f"use thermometer on {thing}")
        readings.append(walk.answer)
        if len(readings) >= 3 and len(set(readings[-3:])) == 1 and not walk.sees("blast furnace"):
            _furnace(walk, thing)
    walk.act(f"use thermometer on {liquid}")
    walk.go(boxes)
    walk.act(f"focus on {box}")


def _freezing_point(walk: Walk, thing: str, carried: str, boxes: str, box: str) -> None:
    """2-2, 2-3 where the thing is liquid: it melts where it freezes, soonest in the coldest freezer."""
    name = thing.removeprefix("liquid ")
    solids = ("ice",) if name == "water" else (f"solid {name}",)
    _into_freezer(walk, carried)
    while not any(walk.sees(solid) for solid in solids):
        walk.act(f"use thermometer on {thing}")
    walk.act(f"use thermometer on {next(solid for solid in solids if walk.sees(solid))}")
    walk.go(boxes)
    walk.act(f"focus on {box}")


def _find_and_box(walk: Walk) -> None:
    """4-1 to 4-4: the first thing of the kind that is listed, into the box."""
    kind, box, room = _words(r"find a\(n\) (.+?)\. .*move it to the ([a-z ]+) in the ([a-z ]+)\.", walk.task)
    if kind == "non-living thing":
        walk.go(room)
        lines = [line.strip() for line in walk.look.split("You also see")[0].splitlines()[1:]]
        things = [
            re.sub(r"^an? ", "", re.split(r"[,.(]", line)[0].strip())
            for line in lines
            if not re.search(rf"agent|substance|ground|bathtub|{box}", line) and re.match(r"an? ", line)
        ]
        walk.focus(things[0])
        walk.go(room)
        walk.act(f"move {things[0]} to {box}")
        return
    if kind == "plant":
        walk.go("greenhouse")
        pots = re.findall(
            r"((?:self watering )?flower pot \d+) \(containing an? ([a-z ]*(?:tree|plant|seed))", walk.look
        )
        if not pots:
            raise Unsolved("no plant in the greenhouse")
        carried, name = next((pot for pot in pots if walk.did(f"focus on {pot[1]}")), pots[0])
        walk.focus(name)
        walk.go("greenhouse")
    else:
        walk.go("outside")
        names = [
            name
            for name in re.findall(r"^\s*an? ([a-z ]+)$", walk.look, re.MULTILINE)
            if name not in ("axe", "shovel") and "box" not in name and "substance" not in name
        ]
        if not names:
            raise Unsolved("no animal outside")
        name = carried = next((one for one in names if walk.did(f"focus on {one}")), names[0])
        walk.focus(name)
        walk.go("outside")
    walk.act(f"pick up {carried}")
    if walk.answer.startswith("You move the "):
        carried = walk.answer.removeprefix("You move the ").partition(" to the ")[0]
    walk.go(room)
    walk.act(f"move {carried} to {box}")


def _grow(walk: Walk) -> None:
    """5-1, 5-2: soil into the pots where it is missing, seeds, water; for fruit the bees are let out."""
    (plant,) = _words(r"grow an? ([a-z ]+?)(?: plant from seed)?\.", walk.task)
    (room,) = _words(r"seeds can be found in the ([a-z ]+)\.", walk.task)
    fruit = "crosspollinated" in walk.task
    walk.fetch("seed jar", room)
    walk.go("greenhouse")
    pots = re.findall(r"flower pot \d+", walk.look)[: 3 if fruit else 1]
    for pot in pots:
        _soil(walk, pot)
        walk.go("greenhouse")
        walk.act(f"move {plant} seed in seed jar to {pot}")
    if fruit:
        _bear_fruit(walk, plant, pots)
    walk.act(f"focus on {plant} seed in {pots[0]}")
    for _ in range(8):
        if not re.search(rf"{pots[0]} \([^)]*water", walk.look):
            _water(walk, pots)
        for _ in range(5):
            walk.act("wait1")
    raise Unsolved("nothing grew")


def _bear_fruit(walk: Walk, plant: str, pots: Sequence[str]) -> None:
    """5-2: focus on what has grown once bees have been at two trees."""
    fruit = _pollinated(walk, pots, rf"tree you see: [^.]*?\ban? ((?:[a-z]+ )?{plant})\b(?! (?:seed|tree))")
    walk.act(f"focus on {fruit}")


def _pollinated(walk: Walk, pots: Sequence[str], ripe: str) -> str:
    """Water until two plants blossom, shut the doors so that no bee flies off, let the bees out, and wait for what is
    ripe then: how it is called."""
    for number in range(18):
        if found := re.search(ripe, walk.look, re.IGNORECASE):
            return " ".join(found[1].split())
        if walk.sees("bee hive door is closed") and walk.look.count("in the reproducing stage") > 1:
            for room in re.findall(r"A door to the ([a-z ]+) \(that is open\)", walk.look):
                walk.act(f"close door to {room}")
            walk.act("open bee hive")
        elif number % 2:
            _pass_time(walk)
        else:  # time passes as well, at half the moves
            _water(walk, pots)
    raise Unsolved("nothing grew")


def _pass_time(walk: Walk) -> None:
    """Five waits: as long as one sub-goal of waiting."""
    for _ in range(5):
        walk.act("wait1")


def _cross(walk: Walk) -> None:
    """10-1, 10-2: cross both plants; what their child shows of the trait is dominant."""
    value, trait, plant = _words(r"whether ([a-z]+) (seed|plant|leaf|flower) [a-z]+ is .* the (.+?) plant\.", walk.task)
    boxes = _words(r"dominant, focus on the ([a-z ]+)\..*recessive, focus on the ([a-z ]+)\.", walk.task)
    walk.fetch("seed jar", "greenhouse")
    walk.go("greenhouse")
    *parents, child = re.findall(r"flower pot \d+", walk.look)[:3]
    for pot in parents:
        walk.act(f"move {plant} seed in seed jar to {pot}")
    seed = _pollinated(walk, parents, rf"plant you see: [^.]*?\ban? ((?: ?[a-z]+ )* ?{plant} seed)")
    shown = seed
    if trait != "seed":
        walk.act(f"pick up {plant} seed")
        walk.act(f"move {plant} seed to {child}")
        shown = _grown(walk, child, "you see: [^.]*flower" if trait == "flower" else "stage with")
    dominant, recessive = boxes
    walk.act(f"focus on {dominant if value in shown.split() else recessive}")


def _grown(walk: Walk, pot: str, shown: str) -> str:
    """Water a plant until something of it is shown, and look at it: the answer."""
    for number in range(9):
        if re.search(rf"{pot} \([^)]*{shown}", walk.look):
            walk.act(f"look at {pot}")
            return walk.answer
        if number % 2:
            _pass_time(walk)
        else:
            _water(walk, [pot])
    raise Unsolved("nothing grew")


def _soil(walk: Walk, pot: str) -> None:
    """Fill a pot: with the soil that lies about, or with what the shovel digs up outside."""
    if re.search(rf"{pot} \([^)]*soil", walk.look):
        return
    if not re.search(r"^\s*soil$|called soil", walk.look, re.MULTILINE):
        walk.fetch("shovel", walk.room if walk.sees("shovel") else "outside")
        walk.go("outside")
        walk.act("use shovel on ground")
        walk.act("pick up soil")
        walk.go("greenhouse")
    walk.act(f"move soil to {pot}")


def _water(walk: Walk, pots: Sequence[str]) -> None:
    """Water some pots with the jug."""
    walk.go("greenhouse")
    walk.act("activate sink")
    for pot in pots:
        walk.go("greenhouse")
        walk.act("move jug to sink")
        walk.act(f"pour jug into {pot}")
    walk.act("deactivate sink")


def _paint(walk: Walk) -> None:
    """6-2, 6-3: mix the two paints that the oracle mixes; for a tertiary colour, once more."""
    poured = re.findall(r"cup containing ([a-z-]+) paint", " ; ".join(a for a in walk.oracle if a.startswith("pour ")))
    goals = re.findall(r"focus on ([a-z-]+) paint", " ; ".join(walk.oracle))
    colours = list(dict.fromkeys(poured))[:2]
    if len(colours) != 2 or not goals:
        raise Unsolved("the oracle mixes nothing")
    walk.go("art studio")
    _mix(walk, colours[0], colours[1], goals[0])
    if len(goals) > 1:
        more = next(colour for colour in goals[1].split("-") if colour != goals[0])
        walk.open_all(f"containing {more} paint")
        _mix(walk, more, goals[0], goals[1])


def _mix(walk: Walk, one: str, other: str, goal: str) -> None:
    """Pour one paint into the other and mix, unless that was done."""
    walk.go("art studio")
    if walk.sees(f"{goal} paint"):
        walk.focus(f"{goal} paint")
        return
    walk.act(f"pour cup containing {one} paint into cup containing {other} paint")
    walk.go("art studio")
    listed = re.search(r"cup \(containing ([a-z-]+ paint), ([a-z-]+ paint)\)", walk.look)
    if not listed:
        raise Unsolved("the paints are not together")
    walk.act(f"mix cup containing {listed.group(1)} and {listed.group(2)}")
    walk.focus(f"{goal} paint")


def _recipe(walk: Walk) -> None:
    """6-1: read the recipe, gather what it names in a metal pot, mix."""
    product, room = _words(r"substance '([a-z ]+)'.*found near the ([a-z ]+)\.", walk.task)
    walk.fetch("metal pot", "kitchen")
    walk.fetch("recipe", room)
    walk.act("read recipe")
    ingredients = _words(r"you need to mix ([a-z ,]+)\.", walk.answer)[0].split(", ")
    for thing in ingredients:
        if walk.holds("metal pot", thing):
            continue
        if thing == "water":
            if not walk.sees("sink"):
                walk.go("kitchen")
            walk.act("move metal pot to sink")
            walk.act("activate sink")
            if "broken" in walk.answer:
                walk.act("pick up metal pot")
                walk.go("foundry")
                walk.act("move metal pot to sink")
                walk.act("activate sink")
            walk.act("deactivate sink")
            walk.act("pick up metal pot")
            continue
        walk.find(thing, first=(walk.room, "kitchen"))
        vessel = _vessel(walk, thing)
        if thing.endswith("paint"):
            walk.act(f"pour cup containing {thing} into metal pot")
        elif vessel is not None and vessel.endswith(("jar", "cup")):
            walk.act(f"pour {vessel} into metal pot")
        else:
            walk.act(f"move {thing} to metal pot")
    walk.act("mix metal pot")
    walk.act(f"focus on {product}")


def _plant_stages(walk: Walk) -> None:
    """8-2: focus on each stage as soon as it is there, in whichever pot."""
    (plant,) = _words(r"life stages of the ([a-z ]+) plant", walk.task)
    walk.go("outside")
    for stage in ("seed", "seedling", "adult", "reproducing"):
        thing = f"{plant} seed" if stage == "seed" else f"{plant} tree in the {stage} stage"
        if walk.did(f"focus on {thing}"):
            continue
        walk.wait_until(lambda thing=thing: walk.sees(thing))  # type: ignore[misc]
        walk.go("outside")
        walk.focus(thing)


def _life_stages(walk: Walk) -> None:
    """8-1: focus on each stage as soon as it is there."""
    called = [action.removeprefix("focus on ") for action in walk.oracle if action.startswith("focus on ")]
    stages = [_as_listed(name.removesuffix(" in outside")) for name in called]
    walk.go("outside")
    for stage in stages:
        if walk.did(f"focus on {stage}"):
            continue
        walk.wait_until(lambda stage=stage: walk.sees(stage))  # type: ignore[misc]
        walk.go("outside")
        walk.act(f"focus on {stage}")


_LISTED_AS = {"common toad": "frog", "moth": "butterfly"}
"""Animals that are listed by another name than the task's."""


def _as_listed(stage: str) -> str:
    """A stage of an animal as a room lists it.

    >>> _as_listed("egg moth"), _as_listed("caterpillar moth"), _as_listed("hatchling turtle")
    ('butterfly egg', 'caterpillar', 'hatchling turtle')
    """
    for animal, listed in _LISTED_AS.items():
        stage = stage.replace(animal, listed)
    stage = re.sub(r"^(egg|pupa) (.+)", r"\2 \1", stage)
    return re.sub(r"^(tadpole|caterpillar) .+", r"\1", stage)


def _planes(walk: Walk) -> None:
    """9-1 to 9-3: let the same block slide down both planes, in the order in which the task names them."""
    names = re.findall(r"\(([^,()]+), ([^,()]+)\)", walk.task)
    if not names:
        raise Unsolved("the task names no planes")
    block = _words(r"move (.+?) to inclined plane", " ; ".join(walk.oracle))[0]
    planes = list(dict.fromkeys(re.findall(r"to (inclined plane [a-z ]+)", "\n".join(walk.oracle))))
    planes.sort(key=lambda plane: 0 if re.search(rf"\b{re.escape(names[0][0].lower())}\b", plane) else 1)
    if len(planes) != 2:
        raise Unsolved("the oracle uses other than two planes")
    room = walk.oracle_object("teleport to ") if any(a.startswith("teleport") for a in walk.oracle) else walk.room
    walk.go(room)
    walk.fetch("stopwatch", room)
    timed = _timed(walk, block)
    for plane in planes:
        if plane in timed:
            continue
        walk.go(room)
        walk.act(f"move {block} to {plane}")
        walk.act("activate stopwatch")
        for _ in range(5):
            walk.act(f"look at {plane}")
        walk.act("deactivate stopwatch")
        walk.act("examine stopwatch")
    walk.act(f"focus on {walk.oracle_object('focus on ')}")


def _timed(walk: Walk, block: str) -> set[str]:
    """The planes whose slide was watched to its end before."""
    timed, plane = set(), ""
    for taken in walk.taken:
        plane = taken.action.removeprefix(f"move {block} to ") if taken.action.startswith("move ") else plane
        if taken.action == "examine stopwatch":
            timed.add(plane)
    return timed


def _answer_by_name(walk: Walk) -> None:
    """7-1 to 7-3: what is known of animals answers; the oracle's answers teach it."""
    walk.go("outside")
    for action in walk.oracle:
        if action.startswith("focus on "):
            walk.act(action)


def _conductivity(walk: Walk) -> None:
    """3-3, 3-4: lay what is tested into a circuit with the first lamp or motor that is listed."""
    thing, room = _words(r"determine if (.+?) is electrically .*?located around the ([a-z ]+)\.", walk.task)
    box = walk.oracle_object("move ").rpartition(" to ")[2]
    if not walk.did(f"focus on {thing}"):
        walk.fetch(thing, room)
        walk.focus(thing)
    walk.go("workshop")
    if not walk.sees(thing):
        walk.fetch(thing, room)
        walk.go("workshop")
    if walk.has(thing):
        walk.act(f"drop {thing}")
    _lay_circuit(walk, "battery", "", thing)
    walk.act("wait1")
    walk.act("wait1")
    walk.act(f"move {thing} to {box}")


def _power(walk: Walk) -> None:
    """3-1, 3-2: the oracle's source, carried to where it works, and the first wires that are listed."""
    (lamp,) = _words(r"turn on the (.+?)(?: by |\.)", walk.task)
    (source,) = _words(r"connect (.+?) anode ", " ; ".join(walk.oracle))
    walk.go("workshop")
    walk.focus(lamp)
    if "teleport to outside" in walk.oracle:
        carried = [lamp, source, *list(dict.fromkeys(_WIRE.findall(walk.look)))[:2]]
        for name in carried:
            walk.act(f"pick up {name}")
        walk.go("outside")
        for name in carried:
            walk.act(f"drop {name}")
    _lay_circuit(walk, source, lamp)
    if f"activate {source}" in walk.oracle:
        walk.act(f"activate {source}")
    for _ in range(3):
        walk.act("wait1")


_WIRE = re.compile(r"\b[a-z]+ wire\b")
_LAMP = r"\ban? ([a-z]+ (?:light bulb|motor|buzzer)), which is off"
_JOINED = re.compile(r"(anode|cathode|terminal \d) on (.+?) is now connected to (anode|cathode|terminal \d) on (.+)")
_PARTED = re.compile(r"disconnecting ([^)]+)\)|(.+) has been disconnected")
_ACROSS = {"anode": "cathode", "cathode": "anode", "terminal 1": "terminal 2", "terminal 2": "terminal 1"}
_End = tuple[str, str]
"""A component and one of its two terminals."""


def _lay_circuit(walk: Walk, source: str, lamp: str, thing: str = "") -> None:
    """Lay a circuit from a source through a lamp (empty: the first one listed), and through a thing that is tested,
    back to the source: each wire goes on where the last connection ended. Wires of another circuit are taken off.
    """
    joined = _joined(walk)
    if _is_closed(joined, source, {lamp, thing} - {""}):
        return
    for wire in dict.fromkeys(name for name, _ in joined if name.endswith(" wire")):
        walk.act(f"disconnect {wire}")
    lamp = lamp or _words(_LAMP, walk.look)[0]
    wires = list(dict.fromkeys(_WIRE.findall(walk.look)))
    if len(wires) < (3 if thing else 2):
        raise Unsolved("there are too few wires")
    walk.act(f"connect {source} anode to {wires[0]} terminal 1")
    walk.act(f"connect {wires[0]} terminal 2 to cathode in {lamp}")
    walk.act(f"connect {wires[1]} terminal 1 to anode in {lamp}")
    if thing:
        walk.act(f"connect {wires[1]} terminal 2 to {thing} terminal 1")
        walk.act(f"connect {wires[2]} terminal 1 to {thing} terminal 2")
    walk.act(f"connect {wires[2 if thing else 1]} terminal 2 to {source} cathode")


def _joined(walk: Walk) -> dict[_End, _End]:
    """What is connected to what now, each pair both ways."""
    joined: dict[_End, _End] = {}
    for taken in walk.taken:
        answer = taken.step.observation.lower()
        if found := _PARTED.search(answer):
            parted = found[1] or found[2]
            joined = {one: other for one, other in joined.items() if parted not in (one[0], other[0])}
        if found := _JOINED.search(answer):
            one, other = (found[2], found[1]), (found[4].strip(), found[3])
            joined |= {one: other, other: one}
    return joined


def _is_closed(joined: dict[_End, _End], source: str, wanted: set[str]) -> bool:
    """Whether one can walk round from a source through all that is wanted, and more than wires, to it again."""
    end, passed = (source, "anode"), set[str]()
    while end in joined and len(passed) < len(joined):
        name, terminal = joined[end]
        if name == source:
            more = {part for part in passed if not part.endswith(" wire")} - wanted
            return terminal == "cathode" and wanted <= passed and bool(more or len(wanted) == 1)
        passed.add(name)
        end = (name, _ACROSS[terminal])
    return False


MISPLACED = ("1-1", "1-2", "1-3", "1-4")
"""Task types whose thing may lie anywhere."""
DIRECT: dict[str, Callable[[Walk], None]] = {
    **dict.fromkeys(("1-1", "1-2", "1-3", "1-4"), _change_of_state),
    "2-1": _temperature,
    **dict.fromkeys(("2-2", "2-3"), _melting_point),
    **dict.fromkeys(("3-1", "3-2"), _power),
    **dict.fromkeys(("3-3", "3-4"), _conductivity),
    **dict.fromkeys(("4-1", "4-2", "4-3", "4-4"), _find_and_box),
    **dict.fromkeys(("5-1", "5-2"), _grow),
    "6-1": _recipe,
    **dict.fromkeys(("6-2", "6-3"), _paint),
    **dict.fromkeys(("7-1", "7-2", "7-3"), _answer_by_name),
    "8-1": _life_stages,
    "8-2": _plant_stages,
    **dict.fromkeys(("9-1", "9-2", "9-3"), _planes),
    **dict.fromkeys(("10-1", "10-2"), _cross),
}
"""How each family is played."""
WITHOUT_ORACLE = ("5-2", "10-1", "10-2")
"""Task types whose direct way asks the oracle nothing. The simulator takes half a minute for a path of theirs."""
