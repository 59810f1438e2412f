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
from typing import Final

from waymark.errors import UnparsableAction

SEPARATOR: Final = ", "
"""Stands between two arguments of the functional notation; no argument holds it."""


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
    argument: str = r"\S.*?"
    """What an object may look like."""

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
    Row("CHOOSE", "{}", argument=r"\d+"),  # answers an ambiguous request
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

_FORBIDDEN = "reset task"
_FORMAL = re.compile(r"([A-Z][A-Z0-9_]*)\((.*)\)")

_WHOLE_NAME = r"(?<!\bdoor)(?<!\binclined plane)"
_UP_TO_FIRST, _UP_TO_LAST = rf"\S.*?{_WHOLE_NAME}", rf"\S.*{_WHOLE_NAME}"
_VESSEL = r"\S.*? containing .+"


def _compile(row: Row) -> Iterator[re.Pattern[str]]:
    """A row's patterns as regular expressions, in the order in which they are tried."""

    def expression(pattern: str, *objects: str) -> re.Pattern[str]:
        return re.compile(pattern.format(*(f"({one})" for one in objects)), re.IGNORECASE)

    if row.arity == 2:
        first = _UP_TO_FIRST if row.verb == "USE" else _UP_TO_LAST
        yield expression(row.pattern, first, row.argument)
        yield expression(row.pattern, row.argument, row.argument)
        for alias in row.aliases:
            yield expression(alias, first, _VESSEL)
            yield expression(alias, first, row.argument)
    else:
        for pattern in (row.pattern, *row.aliases):
            yield expression(pattern, *[row.argument] * row.arity)


_READERS = tuple((row, tuple(_compile(row))) for row in GRAMMAR)
_PATTERNS = {(row.verb, row.arity): row.pattern for row in GRAMMAR}


def parse(text: str) -> Action:
    """The action that an environment's string stands for; case of the verb and runs of spaces do not matter.

    Raises UnparsableAction for a string that no row covers, and for `reset task`, which no agent may take.
    """
    words = " ".join(text.split())
    if words.lower() == _FORBIDDEN:
        raise UnparsableAction(f"{_FORBIDDEN!r} would restart the episode.", remedy="It is never offered or executed.")
    if SEPARATOR not in words:
        for row, patterns in _READERS:
            for pattern in patterns:
                if found := pattern.fullmatch(words):
                    return Action(row.verb, found.groups())
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
    found = _FORMAL.fullmatch(text.strip())
    if found:
        verb, inside = found.groups()
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
