"""Task type 4: find a living or non-living thing, a plant or an animal, and put it into a box."""

from __future__ import annotations

import re

from training.worlds.scienceworld.expert.walk import Unsolved, Walk, words_of


def find_and_box(walk: Walk) -> None:
    """4-1 to 4-4: the first thing of the kind that is listed, into the box."""
    kind, box, room = words_of(r"find a\(n\) (.+?)\. .*move it to the ([a-z ]+) in the ([a-z ]+)\.", walk.task)
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
        name = carried = next((animal for animal in names if walk.did(f"focus on {animal}")), names[0])
        walk.focus(name)
        walk.go("outside")
    walk.act(f"pick up {carried}")
    if walk.answer.startswith("You move the "):
        carried = walk.answer.removeprefix("You move the ").partition(" to the ")[0]
    walk.go(room)
    walk.act(f"move {carried} to {box}")
