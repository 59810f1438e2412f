"""Trajectories of TextWorldExpress with other names for things, so that a model learns to copy them.

The simulator keeps things, colours and some of Simon's phrases of dev and test out of the train games. A model from
scratch that has learnt names as labels cannot write those; one that has met words that no vocabulary knows learns to
repeat them. So words of what a path handles (`banana`, `31 bananas`, `47g of brick`, `dirty plaid sweater`, `wiggle
your fingers`) are replaced by made-up ones, in the task, in all texts and in all actions of a path alike. Names of
rooms and furniture stay: they are the same in every fold.
"""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random
from typing import Final

from training.trajectories import Trajectory
from training.worlds.made_up_words import made_up
from waymark.errors import UnparsableAction
from waymark.worlds.textworld_express.actions import parse

_SHARE: Final = 0.5
"""Of the words that can be replaced."""
_KEPT: Final = frozenset(
    "map book cookbook instructions math problem coin knife box of kg g mg km m cm mm l ml a an and do in like on the "
    "to up your".split()
)
"""Words that stay: things that games name in every fold, units, and what stands between names."""
_HANDLED: Final = frozenset(("TAKE", "PUT", "EAT", "SLICE", "DICE", "CHOP", "COOK", "SMELL", "TOUCH", "EXAMINE"))
"""Actions whose first object is a thing that can be renamed."""
_WORD: Final = re.compile(r"[a-z]+", re.IGNORECASE)


def renamed(path: Trajectory, take: int) -> Trajectory | None:
    """The same path with other names, which `take` decides; None where nothing is renamed."""
    draw = Random(f"{path.task_id} {path.variation} {take}")
    names = {word: made_up(draw) for word in words_of(path) if draw.random() < _SHARE}
    if not names:
        return None
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b", re.IGNORECASE)

    def called(text: str) -> str:
        return pattern.sub(lambda match: names[match.group().lower()], text)

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


def words_of(path: Trajectory) -> list[str]:
    """The words of the things that a path handles, and of Simon's phrases, each once, in order."""
    words: dict[str, None] = {}
    obeys = "Simon says" in path.task
    for step in path.steps:
        try:
            action = parse(step.action)
        except UnparsableAction:
            continue
        if action.arguments and action.name in _HANDLED:
            words |= dict.fromkeys(_WORD.findall(action.arguments[0].lower()))
        elif obeys and not action.arguments:
            words |= dict.fromkeys(_WORD.findall(step.action.lower()))
    return [word for word in words if word not in _KEPT]
