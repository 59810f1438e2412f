"""Task types 5 and 10: growing plants and fruit, and crossing plants to see which trait is dominant."""

from __future__ import annotations

import re
from collections.abc import Sequence

from training.worlds.scienceworld.expert.walk import Unsolved, Walk, words_of


def grow(walk: Walk) -> None:
    """5-1, 5-2: soil into the pots where it is missing, seeds, water; for fruit the bees are let out."""
    (plant,) = words_of(r"grow an? ([a-z ]+?)(?: plant from seed)?\.", walk.task)
    (room,) = words_of(r"seeds can be found in the ([a-z ]+)\.", walk.task)
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
        if match := re.search(ripe, walk.look, re.IGNORECASE):
            return " ".join(match[1].split())
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


def cross_plants(walk: Walk) -> None:
    """10-1, 10-2: cross both plants; what their child shows of the trait is dominant."""
    question = r"whether ([a-z]+) (seed|plant|leaf|flower) [a-z]+ is .* the (.+?) plant\."
    value, trait, plant = words_of(question, walk.task)
    boxes = words_of(r"dominant, focus on the ([a-z ]+)\..*recessive, focus on the ([a-z ]+)\.", walk.task)
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
