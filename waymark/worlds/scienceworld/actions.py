"""The action grammar of ScienceWorld: one table that reads and writes both notations.

    environment    pick up thermometer        use thermometer on water       look around
    functional     PICK(thermometer)          USE(thermometer, water)        SEE()

`parse` and `format` read and write the environment's notation, `parse_formal` and `formal` the functional one,
which models write. A row names the verb, the pattern that we write, and the aliases that the simulator (1.2.3)
reads the same way. Patterns that we write are those of the simulator's own list of valid actions, so that
`format(parse(text)) == text` for all of that list; an alias comes back as its row's pattern.

Names of objects hold prepositions themselves (`seed in flower pot 1`, `door to kitchen`, `inclined plane with a
wood surface`), so a text with two objects may be cut in several places. It is cut

- at the word of the row's own pattern if that occurs, else at that of its first alias that does;
- at its last occurrence, for USE at its first: tools have short names, what they are used on may have any;
- never inside `inclined plane with …`, and inside `door to …` only when there is no other place: the door of
  `connect door to air` has no room;
- at an alias's word, before an object that is `… containing …` if there is one, since that names its place last:
  `pour cup containing red paint in desk in cup containing nothing in table`.

Where the row's own word stands, the text that comes back is the same wherever it was cut.
Whether an action is possible is not known here: that depends on the room.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from waymark.errors import UnparsableAction

SEPARATOR: Final = ", "
"""Separator of the arguments of the functional notation; no argument contains it."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action: the functional verb and its objects, as the environment names them."""

    verb: str
    args: tuple[str, ...] = ()


END_SUBGOAL: Final = Action("END_SG")
"""The executor's pseudo-action: the sub-goal has ended. It has a functional notation only."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of action; `{}` stands for an object."""

    verb: str
    pattern: str
    aliases: tuple[str, ...] = ()
    argument: Literal["number"] | None = None
    """The form of an object; null: anything."""

    @property
    def arity(self) -> int:
        """How many objects it takes."""
        return self.pattern.count("{}")


# The first row that matches wins: the more specific stands before the more general.
GRAMMAR: Final = (
    Row("SEE", "look around", ("look",)),
    Row("INVENTORY", "inventory"),
    Row("TASK", "task"),
    Row("WAIT", "wait"),  # ten iterations, 11 moves
    Row("WAIT1", "wait1"),  # one iteration, 2 moves
    Row("CHOOSE", "{}", argument="number"),  # answers an ambiguous request
    Row("LOOK", "look at {}", ("look on {}",)),
    Row("LOOK_IN", "look in {}"),
    Row("EXAMINE", "examine {}"),  # as LOOK to the simulator; the oracle tells them apart
    Row("READ", "read {}"),
    Row("FOCUS", "focus on {}", ("focus {}",)),
    Row("TELEPORT", "teleport to {}", ("teleport {}",)),
    Row(
        "GO",
        "go to {}",
        (
            "go through {}",
            "go into {}",
            "walk to {}",
            "walk through {}",
            "move to {}",
            "move through {}",
            "move into {}",
            "go {}",
        ),
    ),
    Row("OPEN_DOOR", "open door to {}"),
    Row("CLOSE_DOOR", "close door to {}"),
    Row("OPEN", "open {}"),
    Row("CLOSE", "close {}"),
    Row("ACTIVATE", "activate {}", ("turn on {}",)),
    Row("DEACTIVATE", "deactivate {}", ("turn off {}",)),
    Row("PICK", "pick up {}", ("get {}", "take {}")),
    Row("DROP", "put down {}", ("drop {}",)),
    Row("EAT", "eat {}", ("consume {}",)),
    Row("FLUSH", "flush {}"),
    Row("MIX", "mix {}", ("stir {}",)),
    Row("DISCONNECT", "disconnect {}"),
    Row("CONNECT", "connect {} to {}", ("connect {} into {}", "connect {} in {}")),
    Row(
        "MOVE",
        "move {} to {}",
        ("put {} to {}", *(f"{verb} {{}} {word} {{}}" for word in ("into", "in", "on") for verb in ("move", "put"))),
    ),
    Row("POUR", "pour {} into {}", ("pour {} to {}", "pour {} in {}", "pour {} on {}")),
    Row("DUNK", "dunk {} into {}", ("dunk {} in {}",)),
    Row("USE", "use {} on {}", ("use {} with {}",)),
    Row("USE", "use {}"),
)

FORBIDDEN: Final = "reset task"
"""The action that restarts an episode; no agent may take it."""
_FORMAL = re.compile(r"\A([A-Z][A-Z0-9_]*)\((.*)\)\Z")
_NUMBER = re.compile(r"\d+")
_WHOLE_NAMES = ("door", "inclined plane")
"""Words after which an object's name continues, so no cut is made behind them."""
_CONTAINING = " containing "
_LOWER = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})


@dataclass(frozen=True, slots=True)
class _Reader:
    """One way to parse an action, in time linear in its text."""

    row: Row
    opening: str
    """The beginning of the text; for an action without objects, all of it."""
    middle: str = ""
    """The text between two objects."""
    last: bool = False
    """Cut at the last place that fits, not at the first."""
    whole: bool = False
    """Not behind one of `_WHOLE_NAMES`."""
    vessel: bool = False
    """The second object must be `… containing …`."""

    def read(self, text: str, lowered: str) -> tuple[str, ...] | None:
        """The objects, as the text spells them; None when it does not read so. `lowered` has the same length."""
        if not self.row.arity:
            return () if lowered == self.opening else None
        begin = len(self.opening)
        if not lowered.startswith(self.opening) or len(text) == begin:
            return None
        if not self.middle:
            return (text[begin:],) if self.row.argument is None or _NUMBER.fullmatch(text) else None
        place = self._cut(lowered, begin + 1)
        return None if place is None else (text[begin:place], text[place + len(self.middle) :])

    def _cut(self, lowered: str, begin: int) -> int | None:
        end = len(lowered) - 1
        if self.vessel:
            end = min(end, lowered.rfind(_CONTAINING) - 1)
        find = lowered.rfind if self.last else lowered.find
        place = find(self.middle, begin, end)
        while place >= 0 and self.whole and _is_within_name(lowered, place):
            place = find(self.middle, *((begin, place + len(self.middle) - 1) if self.last else (place + 1, end)))
        return place if place >= 0 else None


def _is_within_name(lowered: str, place: int) -> bool:
    """Whether the text before a position is the beginning of a longer name."""
    for name in _WHOLE_NAMES:
        if lowered.endswith(name, 0, place):
            before = lowered[place - len(name) - 1 : place - len(name)]
            if not (before.isalnum() or before == "_"):
                return True
    return False


def _readers(row: Row) -> Iterator[_Reader]:
    """The ways to read a row, in the order in which they are tried."""
    if row.arity < 2:
        for pattern in (row.pattern, *row.aliases):
            yield _Reader(row, pattern.replace("{}", ""))
        return
    last = row.verb != "USE"
    opening, middle, _ = row.pattern.split("{}")
    yield _Reader(row, opening, middle, last=last, whole=True)
    yield _Reader(row, opening, middle)
    for alias in row.aliases:
        opening, middle, _ = alias.split("{}")
        yield _Reader(row, opening, middle, last=last, whole=True, vessel=True)
        yield _Reader(row, opening, middle, last=last, whole=True)


_READERS = tuple(reader for row in GRAMMAR for reader in _readers(row))
_PATTERNS = {(row.verb, row.arity): row.pattern for row in GRAMMAR}


def parse(text: str) -> Action:
    """The action that an environment's string stands for; case of the verb and runs of spaces do not matter.

    Raises UnparsableAction for a string that no row covers, and for `reset task`, which no agent may take.
    """
    words = " ".join(text.split())
    if words.lower() == FORBIDDEN:
        raise UnparsableAction(f"{FORBIDDEN!r} would restart the episode.", remedy="It is never offered or executed.")
    if SEPARATOR not in words:
        lowered = words.lower() if words.isascii() else words.translate(_LOWER)
        for reader in _READERS:
            objects = reader.read(words, lowered)
            if objects is not None:
                return Action(reader.row.verb, objects)
    raise UnparsableAction(
        f"{text!r} is no action of the environment.", remedy="Actions look like `pick up thermometer`."
    )


def format(action: Action) -> str:  # noqa: A001 - the name says what it does, and callers import the module
    """The environment's string for an action. Raises UnparsableAction for one that has none."""
    pattern = _PATTERNS.get((action.verb, len(action.args)))
    if pattern is None:
        raise UnparsableAction(f"{formal(action)} has no form in the environment.")
    return pattern.format(*action.args)


def parse_formal(text: str) -> Action:
    """The action that a functional string stands for, e.g. `PICK(thermometer)` or `END_SG()`.

    Raises UnparsableAction for an unknown verb, a wrong number of arguments, or another form.
    """
    match = _FORMAL.fullmatch(text.strip())
    if match:
        verb, inside = match.groups()
        args = tuple(arg.strip() for arg in inside.split(SEPARATOR)) if inside.strip() else ()
        action = Action(verb, args)
        if is_end(action) or (all(args) and (verb, len(args)) in _PATTERNS):
            return action
    raise UnparsableAction(
        f"{text!r} is no action in functional form.", remedy="They look like `USE(thermometer, water)`."
    )


def formal(action: Action) -> str:
    """The functional string for an action."""
    return f"{action.verb}({SEPARATOR.join(action.args)})"


def is_end(action: Action) -> bool:
    """Whether the action only says that the sub-goal has ended."""
    return action == END_SUBGOAL
