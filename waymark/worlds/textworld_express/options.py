"""The options of TextWorldExpress 1.1.0: parameters of its games, as `name=number` between commas.

The simulator has names and bounds in its error messages only; an integration test compares them with these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from waymark.errors import InvalidInput
from waymark.worlds.base import TaskType

_SWITCH: Final = (0, 1)
PARAMETERS: Final[dict[str, dict[str, tuple[int, int]]]] = {
    "cookingworld": {
        "numLocations": (1, 11),
        "numDistractorItems": (0, 10),
        "numIngredients": (1, 5),
        "includeDoors": _SWITCH,
        "limitInventorySize": _SWITCH,
    },
    "twc": {
        "numLocations": (1, 3),
        "numItemsToPutAway": (1, 4),
        "includeDoors": _SWITCH,
        "limitInventorySize": _SWITCH,
    },
    "coin": {
        "numLocations": (1, 11),
        "numDistractorItems": (0, 10),
        "includeDoors": _SWITCH,
        "limitInventorySize": _SWITCH,
    },
    "mapreader": {
        "numLocations": (2, 48),
        "maxDistractorItemsPerLocation": (0, 3),
        "includeDoors": _SWITCH,
        "limitInventorySize": _SWITCH,
        "maxDistanceApart": (1, 8),
    },
    "simonsays": {"gameLength": (1, 1_000), "numDistractors": (0, 5), "memorization": _SWITCH, "verbose": _SWITCH},
}
"""By game the least and the largest number of each parameter; the other games have none.

Three bounds are narrower than the simulator's own, which accepts numbers that it then cannot make a game of: it has 48
names of places for mapreader, whose coin lies in another place than the player; and twc needs something to put away.
"""
_PLACES: Final = "numLocations"
_DISTANCE: Final = "maxDistanceApart"
_DEFAULTS: Final = {_PLACES: 15, _DISTANCE: 4}
_MAX_CHARACTERS: Final = 200
_SHOWN: Final = 40
_PAIR: Final = re.compile(r"([A-Za-z]{1,40})=([0-9]{1,4})")


def check_options(options: str, tasks: Iterable[TaskType]) -> None:
    """Raise InvalidInput (field `options`) for what one of these games does not take. The empty text is valid."""
    pairs = [part.strip() for part in options[: _MAX_CHARACTERS + 1].split(",") if part.strip()]
    if len(options) > _MAX_CHARACTERS or not all(map(_PAIR.fullmatch, pairs)):
        raise InvalidInput(
            f"Options of TextWorldExpress are NAME=NUMBER between commas; got {options[:_SHOWN]!r}.",
            remedy="For example numLocations=5,includeDoors=0.",
            field="options",
        )
    named = [(name, int(number)) for name, _, number in (pair.partition("=") for pair in pairs)]
    numbers = dict(named)
    if len(numbers) < len(named):
        twice = next(name for place, (name, _) in enumerate(named) if name in dict(named[:place]))
        raise InvalidInput(f"The option {twice!r} is given twice.", remedy="Give it once.", field="options")
    for task in tasks:
        _check_numbers(task.id, numbers)


def _check_numbers(game: str, numbers: dict[str, int]) -> None:
    """Raise InvalidInput if one game does not take these parameters."""
    bounds = PARAMETERS.get(game, {})
    if unknown := sorted(numbers.keys() - bounds.keys()):
        raise InvalidInput(
            f"The game {game} has no option {unknown[0]!r}.",
            remedy=f"Its options are: {', '.join(bounds) or 'none'}. Leave out the option, or the game.",
            field="options",
        )
    for name, number in numbers.items():
        least, most = bounds[name]
        if not least <= number <= most:
            raise InvalidInput(
                f"The game {game} takes {name} from {least} to {most}; got {number}.",
                remedy="Correct the number, or leave out the game.",
                field="options",
            )
    if _DISTANCE in bounds:
        places, distance = (numbers.get(name, _DEFAULTS[name]) for name in (_PLACES, _DISTANCE))
        if distance >= places:
            raise InvalidInput(
                f"The game {game} cannot place things {distance} moves apart ({_DISTANCE}) in {places} places "
                f"({_PLACES}).",
                remedy=f"Give a {_DISTANCE} below {_PLACES}.",
                field="options",
            )
