"""Trajectories of TextWorldExpress with other names for things, so that a model learns to copy them.

The simulator keeps things of dev and test out of the train games. A model from scratch that has learnt names as labels
cannot write those; one that has met words that no vocabulary knows learns to repeat them. So the last word of a thing
(`banana`, `31 bananas`, `47g of brick`, `dirty plaid sweater`) is replaced by a made-up one, in the task, in all texts
and in all actions of a path alike. Names of rooms and furniture stay: they are the same in every fold.
"""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random
from typing import Final

from training.trajectories import Trajectory
from training.worlds.words import made_up
from waymark.errors import UnparsableAction
from waymark.worlds.textworld_express.actions import parse

_SHARE: Final = 0.7
"""Of the things of a path that get another name."""
_KEPT: Final = frozenset(("map", "book", "cookbook", "problem", "coin", "knife", "box"))
"""Last words of things that games name in every fold."""
_HANDLED: Final = frozenset(("TAKE", "PUT", "EAT", "SLICE", "DICE", "CHOP", "COOK", "SMELL", "TOUCH", "EXAMINE"))
"""Actions whose first object is a thing that can be renamed."""
_WORD: Final = re.compile(r"[a-z]+", re.IGNORECASE)


def renamed(path: Trajectory, take: int) -> Trajectory | None:
    """The same path with other names, which `take` decides; None where nothing is renamed."""
    draw = Random(f"{path.task_id} {path.variation} {take}")
    names = {word: made_up(draw) for word in things_of(path) if draw.random() < _SHARE}
    if not names:
        return None
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b", re.IGNORECASE)

    def called(text: str) -> str:
        return pattern.sub(lambda found: names[found.group().lower()], text)

    steps = [
        replace(
            step,
            action=called(step.action),
            observation=called(step.observation),
            look=called(step.look),
            inventory=called(step.inventory),
        )
        for step in path.steps
    ]
    return replace(
        path,
        take=take,
        task=called(path.task),
        look=called(path.look),
        inventory=called(path.inventory),
        steps=steps,
    )


def things_of(path: Trajectory) -> list[str]:
    """The last words of the things that a path handles, each once, in order."""
    words: dict[str, None] = {}
    for step in path.steps:
        try:
            action = parse(step.action)
        except UnparsableAction:
            continue
        spelt = _WORD.findall(action.arguments[0].lower()) if action.arguments else []
        if action.name in _HANDLED and spelt and spelt[-1] not in _KEPT:
            words[spelt[-1]] = None
    return list(words)
