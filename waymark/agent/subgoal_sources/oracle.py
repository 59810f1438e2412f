"""The sub-goals of the simulator's own path through a variation: what a perfect controller would know beforehand.

The simulator calls things by their kind (`focus on baby baby mouse`, `pick up cloth sittable`), and its path looks
around and closes doors on the way. Executors are trained on paths that call things as the agent sees them, so the
path is played once before the episode, its things are renamed after the simulator's answers, and the rule annotator
names its sub-goals. Training makes its paths with the same two functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from waymark.worlds.base import SOLVED, Environment
from waymark.worlds.scienceworld.subgoals import PathStep, annotate

_DROPPED = ("look around", "close door ")
_ANSWERS = {
    "focus": (re.compile(r"^You focus on the (.+)\.$"), "focus on {0}"),
    "pick": (re.compile(r"^You move the (.+) to the inventory\.$"), "pick up {0}"),
    "drop": (re.compile(r"^(?=.*\.$)You move the (.+) to the .+\.$"), "drop {0}"),
    "move": (re.compile(r"^(?=.*\.$)(?:\([^)]*\))?You move the (.+) to the (.+)\.$"), "move {0} to {1}"),
    "pour": (re.compile(r"^(?=.*\.$)You pour the contents of the (.+) into the (.+)\.$"), "pour {0} into {1}"),
}


def subgoals(environment: Environment, task_id: str, variation: int, simplifications: str) -> list[str]:
    """The sub-goals of one variation's oracle path. Seconds; call `reset` next. Raises EnvironmentFault."""
    path = clean(environment.gold_path(task_id, variation, simplifications))
    opening = environment.reset(task_id, variation, simplifications)
    seen = opening.look + opening.inventory
    steps: list[PathStep] = []
    for action in path:
        step = environment.step(action)
        if step.known:
            steps.append(PathStep(plain_action(action, step.observation, seen), step.observation))
        if step.completed or step.score >= SOLVED:
            break
        seen = step.look + step.inventory
    return [segment.subgoal for segment in annotate(opening.task, steps)]


def clean(gold: Sequence[str]) -> list[str]:
    """The gold path without its looks, closed doors and answers to ambiguities (the slot answers those)."""
    return [action for action in gold if not action.startswith(_DROPPED) and not action.isdigit()]


def plain_action(action: str, answer: str, seen: str) -> str:
    """One action with its objects called as the simulator's answer calls them, where what is seen has one such.

    >>> plain_action("focus on baby baby bear", "You focus on the baby bear.", "a baby bear")
    'focus on baby bear'
    >>> plain_action("focus on tall tree", "You focus on the tree.", "a tree, a tree")
    'focus on tall tree'
    """
    form = _ANSWERS.get(action.split(" ", 1)[0])
    found = form[0].match(answer) if form else None
    unique = found and all(
        len(re.findall(rf"\b{re.escape(name)}\b", seen, re.IGNORECASE)) <= 1 for name in found.groups()
    )
    renamed = form[1].format(*found.groups()) if form and found and unique else action
    if renamed.startswith(("activate", "deactivate", "examine", "read", "use")):
        renamed = re.sub(r" in inventory\b", "", renamed)
    return renamed.lower()
