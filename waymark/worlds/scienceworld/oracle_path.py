"""Cleans the simulator's own path and gives its objects the names that an agent sees.

The simulator names things by their kind (`focus on baby baby mouse`, `pick up cloth sittable`), and its path looks
around and closes doors on the way. Executors are trained on paths that name things as the agent sees them. Training
and the sub-goal source `oracle` clean paths with these functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_DROPPED = ("look around", "close door ")
_ANSWERS = {
    "focus": (re.compile(r"^You focus on the (.+)\.$"), "focus on {0}"),
    "pick": (re.compile(r"^You move the (.+) to the inventory\.$"), "pick up {0}"),
    "drop": (re.compile(r"^(?=.*\.$)You move the (.+) to the .+\.$"), "drop {0}"),
    "move": (re.compile(r"^(?=.*\.$)(?:\([^)]*\))?You move the (.+) to the (.+)\.$"), "move {0} to {1}"),
    "pour": (re.compile(r"^(?=.*\.$)You pour the contents of the (.+) into the (.+)\.$"), "pour {0} into {1}"),
}


def clean(gold: Sequence[str]) -> list[str]:
    """The path without looks, closed doors, and answers to ambiguous requests (the environment answers those)."""
    return [action for action in gold if not action.startswith(_DROPPED) and not action.isdigit()]


def replayable(gold: Sequence[str]) -> list[str]:
    """The path without looks, which cost nothing and show nothing new, and without answers to ambiguities.

    Doors are closed as on the path, because otherwise the bees that pollinate fly away.
    """
    return [action for action in gold if action != "look around" and not action.isdigit()]


def plain_action(action: str, answer: str, seen: str) -> str:
    """An action with its objects named as the simulator's answer names them, unless `seen` has two of that name.

    >>> plain_action("focus on baby baby bear", "You focus on the baby bear.", "a baby bear")
    'focus on baby bear'
    >>> plain_action("focus on tall tree", "You focus on the tree.", "a tree, a tree")
    'focus on tall tree'
    """
    form = _ANSWERS.get(action.split(" ", 1)[0])
    match = form[0].match(answer) if form else None
    unique = match and all(
        len(re.findall(rf"\b{re.escape(name)}\b", seen, re.IGNORECASE)) <= 1 for name in match.groups()
    )
    renamed = form[1].format(*match.groups()) if form and match and unique else action
    if renamed.startswith(("activate", "deactivate", "examine", "read", "use")):
        renamed = re.sub(r" in inventory\b", "", renamed)
    return renamed.lower()
