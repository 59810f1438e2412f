"""The readings of instruments, circuits and crosses, as a prompt lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice

from waymark.contracts import AgentState
from waymark.worlds.scienceworld.prompts.instruction import task
from waymark.worlds.scienceworld.prompts.text_limits import HISTORY, TEXT_CHARACTERS
from waymark.worlds.scienceworld.prompts.text_normalisation import plain, shortened
from waymark.worlds.scienceworld.prompts.things_in_sight import listed

READS = ("read ", "use thermometer on ", "look at inclined plane")
"""Actions whose answers are readings."""
READING_WORDS = 24
_READINGS = 3
READING = re.compile(r"(?P<minus>- )?(?<!\b\d )(?P<digits>\b\d(?: \d)*) (?P<unit>degrees|down)\b")
_LAMP = re.compile(r"\b([a-z]+ (?:light bulb|motor|buzzer)), which is (on|off)\b")
_CROSS = re.compile(r"whether ([a-z]+) (seed|plant|leaf|flower) ")
_TRAIT, _PLANT = " trait in ", " plant if"
_CHILD = "look at flower pot"


def readings(state: AgentState) -> str:
    """The readings of instruments: each question with its latest answer, in the order of the first questions. Then,
    after something was connected, the things that a circuit powers, and, after a child plant was seen, the result of a
    cross.

    A number is marked `above` or `below` the numbers of its unit in the task, else those of the other readings, because
    small models compare numbers poorly. The mark follows the name of what was measured, because an answer copies that.
    """
    latest = latest_readings(state)
    named, measured = _values(task(state)), _values(" ; ".join(answer for _, answer in latest))
    compared = {unit: named.get(unit, values) for unit, values in measured.items()}
    read = [_compared(action, answer, compared) for action, answer in latest]
    read += [*circuit_reading(state), *cross_reading(state)]
    return "read " + " ; ".join(read) if read else ""


def plain_readings(state: AgentState) -> str:
    """The readings of instruments, as in `readings`, but with the simulator's own answers and without conclusions."""
    read = [f"{action} : {answer}" for action, answer in latest_readings(state)]
    return "read " + " ; ".join(read) if read else ""


def latest_readings(state: AgentState) -> list[tuple[str, str]]:
    """The last questions to instruments, in the order of the first questions, with their latest answers."""
    answers: dict[str, str] = {}
    for turn in state.turns[max(0, len(state.turns) - HISTORY) :]:
        action = turn.acted.lower()
        if action.startswith(READS):
            answers[action] = shortened(turn.observation, READING_WORDS)
    return list(answers.items())[-_READINGS:]


def circuit_reading(state: AgentState) -> list[str]:
    """The lamps or motors in sight that are on, after something was connected: the answer of a circuit as a reading."""
    lamps = _LAMP.findall(state.look.lower())
    if not lamps or not any(turn.acted.lower().startswith("connect ") for turn in state.turns[-HISTORY:]):
        return []
    lit = [name for name, switched in lamps if switched == "on"]
    return [f"circuit on conductive : {' , '.join(lit)}" if lit else "circuit off nonconductive"]


def cross_reading(state: AgentState) -> list[str]:
    """The result of a cross, after its child plant shows it: whether the trait in question is dominant or not."""
    text = task(state)
    cross = _CROSS.search(text)
    trait = text.rfind(_TRAIT, cross.end(), max(cross.end(), text.rfind(_PLANT) - 1)) if cross else -1
    if cross is None or trait < 0:
        return []
    value, part = cross.groups()
    begins = trait + len(_TRAIT)
    plant = text[begins : text.index(_PLANT, begins + 1)]
    if part == "seed":
        borne = [name for name, holder in listed(state.look) if holder.startswith(f"{plant} plant ")]
        shown = [name for name in borne if name.endswith(f" {plant} seed")]
    else:
        looks = (turn for turn in reversed(state.turns) if turn.acted.lower().startswith(_CHILD))
        shown = [plain(turn.observation[:TEXT_CHARACTERS]) for turn in islice(looks, 1)]
    return [f"cross {'dominant' if value in shown[-1].split() else 'recessive'}"] if shown else []


def _values(text: str) -> dict[str, list[int]]:
    """The numbers of a plain text, by their unit."""
    values: dict[str, list[int]] = {}
    for reading in READING.finditer(text):
        values.setdefault(reading["unit"], []).append(value_of(reading))
    return values


def value_of(reading: re.Match[str]) -> int:
    """The number of a match of `READING`."""
    return int(reading["digits"].replace(" ", "")) * (-1 if reading["minus"] else 1)


def _compared(action: str, answer: str, compared: Mapping[str, Sequence[int]]) -> str:
    """A question and its answer; for a reading only the number, marked if it is above or below all others."""
    reading = READING.search(answer)
    if not reading:
        return f"{action} : {answer}"
    value = value_of(reading)
    others = [other for other in compared[reading["unit"]] if other != value]
    if not others or min(others) < value < max(others):
        return f"{action} : {reading[0]}"
    return f"{action} {'above' if value > max(others) else 'below'} : {reading[0]}"
