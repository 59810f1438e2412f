"""The functional form of actions in the training data and prompts of the published models.

It differs from `waymark.worlds.scienceworld.actions`, which covers every action of the environment and can be converted
back without loss:

- `wait1` is also written as `WAIT()`, and `WAIT()` is converted back to `wait`;
- two objects are split at the last occurrence of their verb's word, without regard to their names; `pour` without `
  into ` is split at the last ` in `, and so is `drop` (`DROP(orange, inventory)`);
- `0` and `1` answer an ambiguous request: `CHOOSE(0)`.

The published table lacks `put down`, `eat`, `flush`, `disconnect`, `inventory`, `look in` and `use` with one object.
The published code refuses to train on them and prints `None` in the history. Here they have the form of
`waymark.worlds.scienceworld.actions`, so that every path can be used for training.
"""

from __future__ import annotations

import re

from waymark.worlds.scienceworld import actions

END = "END_SG()"
_WHOLE = {"look around": "SEE()", "wait": "WAIT()", "wait1": "WAIT()", "0": "CHOOSE(0)", "1": "CHOOSE(1)"}
_ONE_OBJECT = (
    ("focus on ", "FOCUS"),
    ("look at ", "LOOK"),
    ("read ", "READ"),
    ("pick up ", "PICK"),
    ("open door to ", "OPEN_DOOR"),
    ("close door to ", "CLOSE_DOOR"),
    ("open ", "OPEN"),
    ("close ", "CLOSE"),
    ("activate ", "ACTIVATE"),
    ("deactivate ", "DEACTIVATE"),
    ("go to ", "GO"),
    ("teleport to ", "TELEPORT"),
    ("examine ", "EXAMINE"),
    ("mix ", "MIX"),
)
_TWO_OBJECTS = (
    ("connect ", " to ", "CONNECT"),
    ("move ", " to ", "MOVE"),
    ("use ", " on ", "USE"),
    ("pour ", " into ", "POUR"),
    ("pour ", " in ", "POUR"),
    ("dunk ", " into ", "DUNK"),
    ("drop ", " in ", "DROP"),
)
"""Verb, word between the objects, functional name; the first row that matches is used."""
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_WHOLE_BACK = {"SEE()": "look around", "WAIT()": "wait", "CHOOSE(0)": "0", "CHOOSE(1)": "1"}
_SYNONYMS = {
    "PICKUP": "PICK",
    "PICK_UP": "PICK",
    "TURN_ON": "ACTIVATE",
    "TURN_OFF": "DEACTIVATE",
    "OBSERVE": "EXAMINE",
    "PLACE": "MOVE",
}
"""Other names that the published code reads."""
_ONE_BACK = {name: beginning for beginning, name in _ONE_OBJECT} | {"DROP": "put down "}
_TWO_BACK = {name: (beginning, word) for beginning, word, name in reversed(_TWO_OBJECTS)}


def formal(action: str) -> str:
    """The functional form of an environment's action. Raises UnparsableAction for a text that is none."""
    if action in _WHOLE:
        return _WHOLE[action]
    for beginning, name in _ONE_OBJECT:
        if len(action) > len(beginning) and action.startswith(beginning):
            return f"{name}({action.removeprefix(beginning)})"
    for beginning, word, name in _TWO_OBJECTS:
        first, _, second = action.removeprefix(beginning).rpartition(word)
        if action.startswith(beginning) and first and second:
            return f"{name}({first}, {second})"
    return actions.formal(actions.parse(action))


def parse(text: str) -> str | None:
    """The environment's action that a functional text stands for; None for `END_SG()`.

    Raises UnparsableAction for a text that is no action.
    """
    text = text.strip()
    if text == END:
        return None
    if text in _WHOLE_BACK:
        return _WHOLE_BACK[text]
    name, opened, inside = text.partition("(")
    if opened and inside.endswith(")") and _NAME.fullmatch(name):
        name, inside = _SYNONYMS.get(name, name), inside.removesuffix(")").strip()
        first, _, second = inside.rpartition(", ")
        if name in _TWO_BACK and first.strip() and second.strip():
            beginning, word = _TWO_BACK[name]
            return f"{beginning}{first}{word}{second}"
        if name in _ONE_BACK and inside:
            return _ONE_BACK[name] + inside
    return actions.format(actions.parse_formal(text))
