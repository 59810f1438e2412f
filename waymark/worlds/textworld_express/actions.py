"""The actions of TextWorldExpress in plain and in functional form: `put coin in box` and `PUT(coin, box)`.

One table parses and formats every action that the eight games list; what a game says without an object
(`jump up and down`) is its own words in functional form, `JUMP_UP_AND_DOWN()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from waymark.errors import UnparsableAction

PHRASES: Final = (
    "look around",
    "inventory",
    "task",
    "prepare meal",
    "clap your hands",
    "do a dance",
    "hop on your left foot",
    "hop on your right foot",
    "hop to the left",
    "jump up and down",
    "meow like a cat",
    "quack like a duck",
    "sit down",
    "touch your ears",
    "touch your nose",
    "turn around in a circle",
    "wave hello",
    "wiggle your fingers",
    "wiggle your toes",
)
"""Actions without an object."""
_OF_ONE_OBJECT: Final = (
    ("open door to", "OPEN_DOOR"),
    ("close door to", "CLOSE_DOOR"),
    ("open", "OPEN"),
    ("close", "CLOSE"),
    ("move", "MOVE"),
    ("take", "TAKE"),
    ("read", "READ"),
    ("examine", "EXAMINE"),
    ("eat", "EAT"),
    ("slice", "SLICE"),
    ("dice", "DICE"),
    ("chop", "CHOP"),
    ("smell", "SMELL"),
    ("touch", "TOUCH"),
)
"""Actions with one object: how they begin, and their name. Longer beginnings come first."""
_OF_TWO_OBJECTS: Final = (("put", "PUT"), ("cook", "COOK"))
"""Actions with two objects, joined by ` in `."""
_NAMES: Final = {name: words for words, name in (*_OF_ONE_OBJECT, *_OF_TWO_OBJECTS)} | {
    phrase.upper().replace(" ", "_"): phrase for phrase in PHRASES
}


@dataclass(frozen=True, slots=True)
class Action:
    """One action: its name in functional form and its objects."""

    name: str
    arguments: tuple[str, ...] = ()


def parse(text: str) -> Action:
    """The action that a string of the environment stands for. Raises UnparsableAction.

    >>> parse("put wet gray pullover in laundry basket")
    Action(name='PUT', arguments=('wet gray pullover', 'laundry basket'))
    """
    words = " ".join(text.split())
    if words in PHRASES:
        return Action(words.upper().replace(" ", "_"))
    for beginning, name in _OF_TWO_OBJECTS:
        thing, joint, place = words.removeprefix(f"{beginning} ").rpartition(" in ")
        if words.startswith(f"{beginning} ") and joint and thing and place:
            return Action(name, (thing, place))
    for beginning, name in _OF_ONE_OBJECT:
        if words.startswith(f"{beginning} "):
            return Action(name, (words.removeprefix(f"{beginning} "),))
    raise UnparsableAction(
        f"{text[:100]!r} is no action of TextWorldExpress.", remedy="Use one of the valid actions.", field="action"
    )


def plain(action: Action) -> str:
    """The inverse of `parse`."""
    words = _NAMES[action.name]
    if len(action.arguments) == 2:
        return f"{words} {action.arguments[0]} in {action.arguments[1]}"
    return " ".join((words, *action.arguments))


class TextWorldExpressGrammar:
    """Implements `waymark.worlds.base.Grammar`."""

    def formal(self, action: str) -> str:
        """`put coin in box` as `PUT(coin, box)`."""
        parsed = parse(action)
        return f"{parsed.name}({', '.join(parsed.arguments)})"

    def plain(self, formal: str) -> str:
        """`PUT(coin, box)` as `put coin in box`."""
        name, opened, inside = formal.strip().partition("(")
        if not opened or not inside.endswith(")") or name not in _NAMES:
            raise UnparsableAction(f"{formal[:100]!r} is no action in functional form.", remedy="Write `TAKE(coin)`.")
        inside = inside.removesuffix(")")
        return plain(Action(name, tuple(inside.split(", ")) if inside else ()))
