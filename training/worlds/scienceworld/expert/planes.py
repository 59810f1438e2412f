"""Task type 9: which of two inclined planes is steeper or smoother."""

from __future__ import annotations

import re

from training.worlds.scienceworld.expert.walk import Unsolved, Walk, words_of


def compare_planes(walk: Walk) -> None:
    """9-1 to 9-3: let the same block slide down both planes, in the order in which the task names them."""
    names = re.findall(r"\(([^,()]+), ([^,()]+)\)", walk.task)
    if not names:
        raise Unsolved("the task names no planes")
    block = words_of(r"move (.+?) to inclined plane", " ; ".join(walk.oracle))[0]
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
