"""The simplifications of ScienceWorld 1.2.x: which labels there are, and what a list of them means.

The labels are the simulator's own (`PythonInterface.getPossibleSimplifications`); an integration test compares them.
The simulator itself accepts any text: a label that it does not know makes every later observation an error text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from waymark.errors import InvalidInput
from waymark.worlds.scienceworld.tasks import TaskType

EASY: Final = "easy"
"""Stands for the labels of `EASY_LABELS`. The simulator knows it only when it stands alone."""
NO_ELECTRICITY: Final = "noElectricalAction"
LABELS: Final = (NO_ELECTRICITY, "openContainers", "openDoors", "selfWateringFlowerPots", "teleportAction")
EASY_LABELS: Final = (NO_ELECTRICITY, "openDoors", "selfWateringFlowerPots", "teleportAction")
"""What `easy` switches on; in tasks that need electricity all but `noElectricalAction`."""
MAX_CHARACTERS: Final = 200
"""All labels together take 85."""
_SHOWN: Final = 40
"""Characters of an unknown label that an error quotes."""
_BY_LOWER_CASE: Final = {label.lower(): label for label in (EASY, *LABELS)}


def check_simplifications(text: str, tasks: Iterable[TaskType] = ()) -> frozenset[str]:
    """The labels in a comma-separated list, each once; empty for no simplification.

    Case and spaces around a label do not matter. Raises InvalidInput (field `simplifications`) for an unknown label,
    and for `noElectricalAction` with one of `tasks` that needs electricity.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(
            f"The simplifications have {len(text)} characters, over the limit of {MAX_CHARACTERS}.",
            remedy=_KNOWN,
            field="simplifications",
        )
    labels: set[str] = set()
    for word in filter(None, map(str.strip, text.split(","))):
        if word.lower() not in _BY_LOWER_CASE:
            shown = word if len(word) <= _SHOWN else f"{word[:_SHOWN]}…"
            raise InvalidInput(f"Unknown simplification {shown!r}.", remedy=_KNOWN, field="simplifications")
        labels.add(_BY_LOWER_CASE[word.lower()])
    impossible = [task.id for task in tasks if needs_electricity(task)] if NO_ELECTRICITY in labels else []
    if impossible:
        raise InvalidInput(
            f"Task {impossible[0]} cannot be solved with the simplification {NO_ELECTRICITY!r}.",
            remedy=f"Leave the label out, or leave out the tasks that need electricity. {EASY!r} suits all tasks.",
            field="simplifications",
        )
    return frozenset(labels)


def for_simulator(text: str, task: TaskType) -> str:
    """A list of simplifications as the simulator reads it: each label once, `easy` alone or spelled out.

    Raises InvalidInput as `check_simplifications` does.
    """
    labels = check_simplifications(text, [task])
    if labels == {EASY}:
        return EASY
    if EASY in labels:
        easy = {label for label in EASY_LABELS if label != NO_ELECTRICITY or not needs_electricity(task)}
        labels = labels - {EASY} | easy
    return ",".join(sorted(labels))


def needs_electricity(task: TaskType) -> bool:
    """Whether a task is about circuits; told by its name, as ScienceWorld's own package does."""
    return "power-component" in task.name or "conductivity" in task.name


_KNOWN: Final = f"Give {EASY!r}, or any of {', '.join(LABELS)} between commas; the empty text simplifies nothing."
