"""The options of TextWorldExpress 1.1.0: parameters of its games, as `name=number` between commas.

The simulator has the names in its error messages only; an integration test compares them with these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from waymark.errors import InvalidInput
from waymark.worlds.base import TaskType

PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "cookingworld": ("numLocations", "numDistractorItems", "numIngredients", "includeDoors", "limitInventorySize"),
    "twc": ("numLocations", "numItemsToPutAway", "includeDoors", "limitInventorySize"),
    "coin": ("numLocations", "numDistractorItems", "includeDoors", "limitInventorySize"),
    "mapreader": (
        "numLocations",
        "maxDistractorItemsPerLocation",
        "includeDoors",
        "limitInventorySize",
        "maxDistanceApart",
    ),
    "simonsays": ("gameLength", "numDistractors", "memorization", "verbose"),
}
"""By game; the others have none."""
_MAX_CHARACTERS: Final = 200
_PAIR: Final = re.compile(r"([A-Za-z]{1,40})=([0-9]{1,4})")


def check_options(options: str, tasks: Iterable[TaskType]) -> None:
    """Raise InvalidInput (field `options`) for what one of these games does not take. The empty text is valid."""
    pairs = [part.strip() for part in options[: _MAX_CHARACTERS + 1].split(",") if part.strip()]
    if len(options) > _MAX_CHARACTERS or not all(map(_PAIR.fullmatch, pairs)):
        raise InvalidInput(
            f"Options of TextWorldExpress are NAME=NUMBER between commas; got {options[:40]!r}.",
            remedy="For example numLocations=5,includeDoors=0.",
            field="options",
        )
    names = {pair.partition("=")[0] for pair in pairs}
    for task in tasks:
        if unknown := sorted(names.difference(PARAMETERS.get(task.id, ()))):
            known = ", ".join(PARAMETERS.get(task.id, ())) or "none"
            raise InvalidInput(
                f"The game {task.id} has no option {unknown[0]!r}.",
                remedy=f"Its options are: {known}. Leave out the option, or the game.",
                field="options",
            )
