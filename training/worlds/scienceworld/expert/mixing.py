"""Task type 6: mix what a recipe names, and paints."""

from __future__ import annotations

import re

from training.worlds.scienceworld.expert.walk import Unsolved, Walk, vessel_of, words_of


def follow_recipe(walk: Walk) -> None:
    """6-1: read the recipe, gather what it names in a metal pot, mix."""
    product, room = words_of(r"substance '([a-z ]+)'.*found near the ([a-z ]+)\.", walk.task)
    walk.fetch("metal pot", "kitchen")
    walk.fetch("recipe", room)
    walk.act("read recipe")
    ingredients = words_of(r"you need to mix ([a-z ,]+)\.", walk.answer)[0].split(", ")
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
        vessel = vessel_of(walk, thing)
        if thing.endswith("paint"):
            walk.act(f"pour cup containing {thing} into metal pot")
        elif vessel is not None and vessel.endswith(("jar", "cup")):
            walk.act(f"pour {vessel} into metal pot")
        else:
            walk.act(f"move {thing} to metal pot")
    walk.act("mix metal pot")
    walk.act(f"focus on {product}")


def mix_paint(walk: Walk) -> None:
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


def _mix(walk: Walk, colour: str, other_colour: str, goal: str) -> None:
    """Pour one paint into the other and mix, unless that was done."""
    walk.go("art studio")
    if walk.sees(f"{goal} paint"):
        walk.focus(f"{goal} paint")
        return
    walk.act(f"pour cup containing {colour} paint into cup containing {other_colour} paint")
    walk.go("art studio")
    listed = re.search(r"cup \(containing ([a-z-]+ paint), ([a-z-]+ paint)\)", walk.look)
    if not listed:
        raise Unsolved("the paints are not together")
    walk.act(f"mix cup containing {listed.group(1)} and {listed.group(2)}")
    walk.focus(f"{goal} paint")
