"""How replacements for unknown actions are chosen: pure functions that ask no model and no environment.

`shortlist` keeps to the verb of the proposed action, because another verb is another intention, and
the controller is better asked anew. String similarity alone made scores worse, so it only shortens the list. A wrong
focus ends an episode at -100, so `focus on` may only name the proposed thing: its name in another order or with more
words (`ice` for `ice cream`, but never `smores` for `instructions to make smores`, nor a tree for its fruit). For the
same reason no replacement names a box that was not proposed.

`most_similar` is the published rule. It has none of these precautions.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from waymark.byte_cache import ByteCache
from waymark.errors import UnparsableAction
from waymark.worlds.scienceworld import actions
from waymark.worlds.scienceworld.scene import BOX, OTHER_AGES

SHORTLIST = 64
"""The most candidates: the executor reads its prompt again for every one of them."""

NOT_AGAIN = 3
"""The published rule does not choose any of the last three actions."""
_ROOMS = (
    "hallway",
    "greenhouse",
    "green house",
    "kitchen",
    "bathroom",
    "outside",
    "workshop",
    "art studio",
    "foundry",
    "bedroom",
    "living room",
)
_FOCUS_WORDS = frozenset(("focus", "on", "in", "to"))
_NO_LETTER = re.compile(r"[^A-Za-z0-9 ]+")
_SAME_TO_SIMULATOR = {"EXAMINE": "LOOK"}
_CACHE_BYTES = 4_000_000
"""The size of either cache, about 10,000 actions."""
_FOCUS, _USE = "FOCUS", "USE"
_INSIGNIFICANT = frozenset(
    ("a", "an", "the", "in", "on", "to", "of", "into", "with", "and", "containing", "substance", "terminal")
)


def shortlist(proposal: str, valid: Sequence[str], limit: int = SHORTLIST) -> list[str]:
    """At most `limit` valid actions that may replace the proposal, the most similar first.

    They have the same verb and a thing that shares a word with the proposed thing. More shared words come first, then
    fewer other words.
    """
    proposed, words = _reading(proposal), _words(proposal)
    ranked = []
    for action in valid:
        reading = _reading(action)
        if reading.verb != proposed.verb or not _alike(proposed, reading):
            continue
        if not _risks_the_same(proposal, action):
            continue
        shared, other = words & _words(action), words ^ _words(action)
        ranked.append(((len(shared), -len(other)), action))
    ranked.sort(key=lambda entry: entry[0], reverse=True)
    return [action for _, action in ranked[:limit]]


def most_similar(
    proposed: Sequence[str], valid: Sequence[str], recent: Sequence[str], look: str, inventory: str
) -> str | None:
    """The published replacement for an action that the environment does not know.

    `proposed` are the executor's beams, best first. The first of them that is a candidate is taken; else the candidate
    that shares most words with the best beam, the shortest of several; None where none shares a word.

    Candidates are the valid actions and the doors of all rooms, without the `recent` actions, actions on doors other
    than to open them, the focus on oneself, air or a room, and the focus on what is neither seen nor carried.
    """
    seen = f"{look} {inventory.lower()}"
    barred = {f"focus on {thing}" for thing in ("agent", "air", *_ROOMS)}.union(recent)
    doors = (f"open door to {room}" for room in _ROOMS)
    candidates = {
        action
        for action in (*valid, *doors)
        if action not in barred
        and ("door" not in action or "open" in action)
        and (not action.startswith("focus on") or all(word in seen for word in set(action.split()) - _FOCUS_WORDS))
    }
    for action in proposed:
        if (named := action.replace("green house", "greenhouse").strip()) in candidates:
            return named
    words = set(proposed[0].split(" "))
    ranked = sorted(candidates, key=lambda action: (-len(words.intersection(action.split(" "))), len(action), action))
    if not ranked or words.isdisjoint(ranked[0].split(" ")):
        return None
    return _NO_LETTER.sub("", ranked[0])


def _read(text: str) -> actions.Action:
    """The action that a text stands for, in lower case; equal for texts that the simulator reads alike."""
    try:
        action = actions.parse(text.lower())
    except UnparsableAction:
        return actions.Action("", (text.lower(),))
    return actions.Action(_SAME_TO_SIMULATOR.get(action.verb, action.verb), action.args)


_reading = ByteCache(_read, _CACHE_BYTES, lambda action: sum(map(sys.getsizeof, (action.verb, *action.args))))


def _risks_the_same(proposal: str, action: str) -> bool:
    """Whether an action risks no more of the score than the proposal does."""
    if not set(BOX.findall(action.lower())) <= set(BOX.findall(proposal.lower())):
        return False
    return _reading(action).verb != _FOCUS or _same_thing(proposal, action)


def _same_thing(proposal: str, action: str) -> bool:
    """Whether an action names the proposed thing: its words and then more, or one other word among them.

    A cherry tree is no cherry.
    """
    words, offered = _words(proposal), _words(action)
    if (offered - words).intersection(OTHER_AGES):
        return False
    begins = " ".join(_reading(action).args).startswith(" ".join(_reading(proposal).args))
    return words <= offered and (begins or len(offered - words) <= 1)


def _alike(proposed: actions.Action, offered: actions.Action) -> bool:
    """Whether the object of an action shares a significant word with the proposed object.

    The object is the first argument; of an instrument, what it is used on.
    """
    place = -1 if proposed.verb == _USE else 0
    return not (proposed.args and offered.args) or bool(
        _significant(proposed.args[place]) & _significant(offered.args[place])
    )


def _significant(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", text)) - _INSIGNIFICANT


def _words_of(text: str) -> frozenset[str]:
    """The significant words of an action's objects."""
    return _significant(" ".join(_reading(text).args))


_words = ByteCache(_words_of, _CACHE_BYTES, lambda words: sys.getsizeof(words) + sum(map(sys.getsizeof, words)))
