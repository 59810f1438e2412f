"""The rule annotator: splits an action path into sub-goals, deterministically, from the action grammar alone.

It reads actions and the simulator's answers and writes sub-goals in the published functional style
(Hashemzadeh et al. 2024, appendix): `navigate_to(kitchen)`, `pick_up(thermometer)`, `fill(metal pot, water)`,
`heat(metal pot, stove)`, `monitor_temperature(water, boil)`, `wait(3)`; `complete_task()` after the last one.

Rules are tried in order at each position. A rule returns how many actions it takes and their sub-goal. A rule that
takes several actions names something that an executor can do by looking. An action that no rule knows becomes a
sub-goal of its own, named after the action.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from waymark.agent.state import COMPLETE
from waymark.worlds.base import PathStep, Segment


@dataclass(frozen=True)
class _Path:
    """A path, the task it solves, and a cursor."""

    task: str
    steps: Sequence[PathStep]
    at: int

    def action(self, offset: int = 0) -> str:
        index = self.at + offset
        return self.steps[index].action if index < len(self.steps) else ""

    def run(self, *beginnings: str, offset: int = 0) -> int:
        """How many actions from `offset` on start with one of the beginnings."""
        count = 0
        while self.action(offset + count).startswith(beginnings):
            count += 1
        return count


_HEATERS = ("stove", "blast furnace", "oven")
_STAGES = "life stages of the "
_LONGEST_WAIT = 5
"""Longer waits become several sub-goals, so that the controller is asked in between."""
_Rule = Callable[[_Path], tuple[str, int] | None]


def annotate(task: str, steps: Sequence[PathStep]) -> list[Segment]:
    """Split a path into sub-goals that cover it without gaps; `complete_task()` follows as an empty segment."""
    segments: list[Segment] = []
    at = 0
    while at < len(steps):
        stop = next(
            (index for index in range(at + 1, len(steps)) if steps[at].perturbation or steps[index].perturbation),
            len(steps),
        )
        path = _Path(task, steps[:stop], at)
        subgoal, length = next(match for rule in _RULES if (match := rule(path)))
        length += sum(1 for _ in takewhile(lambda step: step.action.isdigit(), path.steps[at + length :]))
        segments.append(Segment(subgoal, at, at + length))
        at += length
    return [*segments, Segment(COMPLETE, at, at)]


def _walk(path: _Path) -> tuple[str, int] | None:
    """One teleport, or any walking in a row, which leads to its last room.

    Teleports in a row are a search: in each room somebody has to look whether what is wanted is there.
    """
    if path.action().startswith("teleport to "):
        return _call("navigate_to", path.action().removeprefix("teleport to ")), 1
    length = path.run("go to ", "open door to ")
    rooms = [path.action(index) for index in range(length) if path.action(index).startswith("go to ")]
    return (_call("navigate_to", rooms[-1].removeprefix("go to ")), length) if rooms else None


def _fill(path: _Path) -> tuple[str, int] | None:
    """A container put under a running tap and taken back."""
    match = re.match(r"^move (.+) to sink$", path.action())
    if not match or [path.action(1), path.action(2)] != ["activate sink", "deactivate sink"]:
        return None
    container = _bare(match.group(1))
    return _call("fill", container, "water"), 4 if path.action(3).startswith("pick up ") else 3


def _water(path: _Path) -> tuple[str, int] | None:
    """Plants watered with a jug, the tap opened first and closed at the end."""
    if path.action() != "activate sink":
        return None
    length = 1
    pots: list[str] = []
    while path.action(length).startswith("move jug to ") and path.action(length + 1).startswith("pour jug "):
        pots.append(re.split(r" (?:into|in) ", path.action(length + 1))[-1])
        length += 2
    if path.action(length) == "deactivate sink":
        length += 1
    return (_call("water", *pots), length) if pots else None


def _heat(path: _Path) -> tuple[str, int] | None:
    """Something put on a device, which is switched on unless it is on already."""
    match = re.match(r"^move (.+) to (.+)$", path.action())
    if not match:
        return None
    switched = path.action(1) == f"activate {match.group(2)}"
    if not switched and match.group(2) not in _HEATERS:
        return None
    return _call("heat", _bare(match.group(1)), match.group(2)), 2 if switched else 1


def _cool(path: _Path) -> tuple[str, int] | None:
    """Something put into a freezer, which is opened first if need be."""
    opened = 1 if re.match(r"^open .*(freezer|fridge)$", path.action()) else 0
    match = re.match(r"^(?=.*(?:freezer|fridge)$)move (.+) to (.*(?:freezer|fridge))$", path.action(opened))
    return (_call("cool", _bare(match.group(1)), match.group(2)), opened + 1) if match else None


def _monitor(path: _Path) -> tuple[str, int] | None:
    """A temperature read again and again, with looks and waits between, until something changes."""
    length = path.run("examine ", "use thermometer ", "wait")
    readings = [path.action(index) for index in range(length) if path.action(index).startswith("use thermometer ")]
    if not readings:
        return None
    thing = _bare(readings[0].partition(" on ")[2])
    if len(readings) == 1 and length == 1:
        return _call("measure_temperature", thing), 1
    until = next((word for word in ("melt", "boil", "freez") if word in path.task.lower()), "change")
    return _call("monitor_temperature", thing, "freeze" if until == "freez" else until), length


def _time(path: _Path) -> tuple[str, int] | None:
    """A block let slide down a plane against the stopwatch."""
    match = re.match(r"^(?:move block to (.+)|move .*block to (.+)|move brick to (.+))$", path.action())
    if not match or not path.action(1).startswith("activate stopwatch"):
        return None
    length = 2 + path.run("look at ", "wait", offset=2)
    length += path.run("deactivate stopwatch", "examine stopwatch", offset=length)
    return _call("time_slide", next(plane for plane in match.groups() if plane)), length


def _connect(path: _Path) -> tuple[str, int] | None:
    """A run of connections makes a circuit of all that is no wire, in the order in which it is come by."""
    length = path.run("connect ")
    if not length:
        return None
    ends = [_component(end) for index in range(length) for end in path.action(index)[8:].split(" to ")]
    parts = [end for end in ends if not end.endswith("wire")]
    return _call("build_circuit", *dict.fromkeys(parts or (ends[0], ends[-1]))), length


def _search(path: _Path) -> tuple[str, int] | None:
    """Three and more containers opened in a row: everything closed is to be opened."""
    length = path.run("open ")
    return ("open_everything()", length) if length >= 3 else None


def _wait(path: _Path) -> tuple[str, int] | None:
    """Waits: from one stage of life to the next, for something heated or cooled to change, or a few ticks.

    What an animal becomes is not to be known: it is waited until what was focused on last is it no more. Nor is what an
    experiment will show: what is waited for is named only where one stage has come into focus already.
    The last wait of a path ends with the episode, so how long it was meant to be is not known: it counts as full.
    """
    kind = path.action()
    if not kind.startswith("wait"):
        return None
    length = 1
    while path.action(length) == kind:
        length += 1
    after, before = path.action(length), path.action(-1) if path.at else ""
    if after.startswith("focus on ") and before.startswith("focus on "):
        _, stages, living = path.task.rpartition(_STAGES)
        if stages and " plant" not in living:  # an animal's
            return _call("wait_for_change", before.removeprefix("focus on ")), length
        return _call("wait_for", after.removeprefix("focus on ")), length
    treated = re.match(r"pick up (.+)", after)
    if treated and length <= 3 * _LONGEST_WAIT:
        return _call("wait_for_change", treated.group(1)), length
    if length >= _LONGEST_WAIT or not after:
        return _call(kind, str(_LONGEST_WAIT)), min(length, _LONGEST_WAIT)
    return _call(kind, str(length)), length


def _single(path: _Path) -> tuple[str, int]:
    """One action that is its own sub-goal."""
    action = path.action()
    for opening, name, separator in _VERBS:
        if action.startswith(opening):
            rest = action.removeprefix(opening)
            halves = re.match(separator, rest) if separator else None
            return _call(name, *(halves.groups() if halves else filter(None, [rest]))), 1
    verb, _, rest = action.partition(" ")
    return _call(verb, *([rest] if rest else [])), 1


_VERBS: tuple[tuple[str, str, str], ...] = (
    ("focus on ", "focus_on", ""),
    ("pick up ", "pick_up", ""),
    ("put down ", "drop", ""),
    ("look around", "look_around", ""),
    ("look at ", "look_at", ""),
    ("look in ", "look_in", ""),
    ("move ", "move", r"(.+) to (.+)"),
    ("pour ", "pour", r"(.+) (?:into|in) (.+)"),
    ("dunk ", "dunk", r"(.+) (?:into|in) (.+)"),
    ("use ", "use", r"(.+?) on (.+)"),
)

_RULES: tuple[_Rule, ...] = (_walk, _fill, _water, _heat, _cool, _monitor, _time, _connect, _search, _wait, _single)


def _call(name: str, *arguments: str) -> str:
    return f"{name}({', '.join(arguments)})"


def _bare(thing: str) -> str:
    """A thing without where it is held."""
    return thing.removesuffix(" in inventory")


def _component(end: str) -> str:
    """`blue wire terminal 1` and `anode in red light bulb` name their component."""
    end = re.sub(r" (?:terminal [12]|anode|cathode)$", "", end)
    return re.sub(r"^(?:terminal [12]|anode|cathode) (?:in|on) ", "", end)
