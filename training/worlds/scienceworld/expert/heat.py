"""Task types 1 and 2: changes of state, and temperatures."""

from __future__ import annotations

from collections.abc import Callable

from training.worlds.scienceworld.expert.walk import Walk, vessel_of, words_of


def _changed(walk: Walk) -> tuple[str, ...]:
    """The change and the substance that a task of 1-1 to 1-4 names."""
    return words_of(r"to (boil|melt|freeze|change the state of matter of) ([a-z ]+)\.", walk.task)


def misplace(walk: Walk, room: str) -> None:
    """Move the thing that a task of `MISPLACED` names to another room, close what was opened, and go back. Raises
    Unsolved.
    """
    start = walk.room
    _, thing = _changed(walk)
    walk.find(thing)
    carried = vessel_of(walk, thing) or thing
    walk.act(f"pick up {carried}")
    for opened in [taken.action for taken in walk.taken if taken.action.startswith("open ")]:
        walk.act(opened.replace("open ", "close ", 1))
    walk.go(room)
    walk.act(f"drop {carried}")
    walk.go(start)


def change_of_state(walk: Walk) -> None:
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
    """Whether the last move was rewarded. Then the awaited change has happened, under any name."""
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


def measure_temperature(walk: Walk) -> None:
    """2-1: measure what the task names and put it into the box that the reading calls for."""
    thing, room = words_of(r"temperature of (.+?), which is located around the ([a-z ]+)\.", walk.task)
    (boxes,) = words_of(r"boxes are located around the ([a-z ]+)\.", walk.task)
    box = walk.oracle_object("move ").rpartition(" to ")[2]
    _thermometer(walk)
    walk.go(room)
    if not walk.has(thing):
        walk.open_all(thing)
    walk.focus(thing)
    carried = vessel_of(walk, thing) or thing
    if not walk.has(thing):
        walk.go(room)
    walk.act(f"use thermometer on {thing}")
    walk.fetch(carried, room)
    walk.go(boxes)
    walk.act(f"move {carried} to {box}")


def find_melting_point(walk: Walk) -> None:
    """2-2, 2-3: heat what the task names until it melts, reading the thermometer all the way."""
    thing, room = words_of(r"melting point of (.+?), which is located around the ([a-z ]+)\.", walk.task)
    (boxes,) = words_of(r"boxes are located around the ([a-z ]+)\.", walk.task)
    box = walk.oracle_object("focus on ")
    freezing = any("freezer" in action and action.startswith("move") for action in walk.oracle)
    _thermometer(walk)
    walk.go(room)
    if not walk.has(thing):
        walk.open_all(thing)
    walk.focus(thing)
    carried = (vessel_of(walk, thing) or thing) if freezing else thing
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
    """2-2, 2-3 for a liquid: its melting point is its freezing point, reached soonest in the coldest freezer."""
    name = thing.removeprefix("liquid ")
    solids = ("ice",) if name == "water" else (f"solid {name}",)
    _into_freezer(walk, carried)
    while not any(walk.sees(solid) for solid in solids):
        walk.act(f"use thermometer on {thing}")
    walk.act(f"use thermometer on {next(solid for solid in solids if walk.sees(solid))}")
    walk.go(boxes)
    walk.act(f"focus on {box}")
