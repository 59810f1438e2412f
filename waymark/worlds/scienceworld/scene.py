"""How ScienceWorld describes scenes: rooms, containers, instruments."""

from __future__ import annotations

import re

OTHER_THINGS = ("box", "juice", "paint", "cream", "cup")
"""Words that make another thing of the name before them: an orange box is no orange."""
OTHER_AGES = ("tree", "plant", "seed")
"""Words that name the same living thing at another age: a cherry tree is no cherry, but bears cherries."""
BOX = re.compile(r"\b[a-z]+ box\b")
"""A box as tasks, scenes and actions name it."""
_ROOM = re.compile(r"(?:room|location) is called the ", re.IGNORECASE)
_NAME = re.compile(r"[a-z ]+", re.IGNORECASE)
_READING = re.compile(r"-?(?<!\d)\d+ degrees|(?<!\d)\d+ ticks")
_WALKED = "move to the "
_NAMED = "This room is called the "
_LONGEST_NAME = 500


def room_of(look: str) -> str | None:
    """The room that a look describes, as prompts name it (`greenhouse`, never `green house`)."""
    match = _ROOM.search(look)
    while match:
        name = _NAME.match(look, match.end())
        if name and look.startswith(".", name.end()):
            return canonical(name.group())
        # What begins within this run of letters ends where it does.
        match = _ROOM.search(look, name.end() if name else match.end())
    return None


def holds(text: str, vessel: str, thing: str) -> bool:
    """Whether a look or an inventory lists a vessel with a thing in it."""
    listed = rf"\b{re.escape(vessel)} \(containing [^()]*\b{re.escape(thing)}\b"
    return bool(re.search(listed, text, re.IGNORECASE))


def canonical(text: str) -> str:
    """The text with `greenhouse` for `green house`: the simulator writes both, prompts only the former."""
    return text.replace("green house", "greenhouse")


def name_rooms(rooms: tuple[str, ...], observation: str, look: str) -> tuple[str, ...]:
    """The rooms of the published prompts after one more step, each once.

    First the room that the answer to a walk ends with, then the room that a look names. `This outside location is
    called …` names none, and neither does the answer to a teleport.
    """
    named = [observation.partition(_WALKED)[2][:-1], look.partition(_NAMED)[2].partition(".")[0]]
    return tuple(dict.fromkeys((*rooms, *(room[:_LONGEST_NAME] for room in named if room))))


def without_readings(text: str) -> str:
    """A look or an inventory without temperatures and times."""
    return _READING.sub("", text)
