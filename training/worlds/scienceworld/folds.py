"""Folds of the training variations that leave things out: substances, plants, animals, components, traits.

Test and dev variations ask for things that no training variation asks for. A score on training variations says
something about those only if their things were unknown to the models. So the things of the training variations are
parted into three folds. A model that is to be judged on a fold is trained without every variation that asks for one of
its things: `python -m training finetune ROLE --leave-out FOLD`, which also selects its weights on the fold.

Which things a variation asks for follows from its instruction and, where that names a kind only ("an animal"), from
what its recorded path focuses on. A thing is in the same fold in all task types: chocolate is melted, measured and
slid upon in fold 2. A variation of two things, such as two planes, is in the fold of each. Things also stand around in
variations that do not ask for them, in training as in test; that is not left out.

Limits: 6-2 and 10-1 have two things each, so fold 2 has no variation of theirs. In 4-1 to 4-4 any thing of a kind
will do, and an agent may choose another than the recorded path did. `python -m training folds` prints the table.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from training.trajectories import Trajectory
from waymark.errors import InvalidInput
from waymark.worlds.scienceworld.tasks import TASKS

FOLDS: Final = (0, 1, 2)
_THINGS: Final[tuple[str, ...]] = (
    # substances; materials; components; things to find; plants; recipes and paints; animals; traits
    "water, ice, gallium, unknown substance b, unknown substance e, unknown substance h, unknown substance l, "
    "unknown substance t, cloth, rubber, aluminum, ceramic, iron, plastic, greenpaint, plane b, plane e, plane h, "
    "unknown material b, unknown material e, unknown material h, red light bulb, aluminum foil, metal pot, chair, "
    "apple, pea, lemon, salt water, sodium acetate, peanut butter sandwich, green paint, green-blue paint, blue jay, "
    "brown bear, giant tortoise, mouse, dragonfly, turtle, common toad, plant height of pea, seed color of unknown e, "
    "flower size of unknown e",
    "orange juice, apple juice, lead, mercury, sodium chloride, unknown substance c, unknown substance f, "
    "unknown substance j, unknown substance m, unknown substance v, paper, caesium, tin, sandpaper, glass, copper, "
    "plane c, plane f, plane j, unknown material c, unknown material f, unknown material j, green light bulb, apricot, "
    "glass jar, bed, glass cup, avocado, cherry, soapy water, blue paper, peanut butter with jam sandwich, "
    "orange paint, red-orange paint, crocodile, chameleon, wolf, seed shape of pea, seed shape of unknown e, "
    "plant height of unknown b, flower size of unknown b",
    "chocolate, marshmallow, metal fork, unknown substance d, unknown substance g, unknown substance k, "
    "unknown substance n, unknown substance x, wood, bronze, zinc, platinum, titanium, steel, plane d, plane g, "
    "unknown material d, unknown material g, blue light bulb, book, table, book shelf, finger painting, drawing, "
    "banana, peach, mixed nuts, banana sandwich, yellow-green paint, butterfly, dove, parrot, elephant, ant, hedgehog, "
    "beaver, leaf shape of unknown e, seed color of unknown b, flower color of unknown b",
)
"""The things of each fold, chosen so that task types have about as many variations in each."""
_FOLD_OF: Final[Mapping[str, int]] = {
    thing: fold for fold, things in enumerate(_THINGS) for thing in things.split(", ")
}
_KIND_ONLY: Final = ("4-1", "4-2", "4-3", "4-4", "7-1", "7-2", "7-3")
"""Task types whose instruction names a kind of thing."""
_FOCUS: Final = "focus on "
_AGE: Final = re.compile(r"^(?:(?:baby|juvenile|adult) )+|(?: egg| tree| plant)$")
_PLANES: Final = re.compile(r"inclined planes \(([^,)]+), ([^,)]+)\)")
_NAMED: Final[Mapping[str, re.Pattern[str]]] = {
    task: re.compile(pattern)
    for tasks, pattern in (
        ("1-1 1-2 1-3 1-4", r"to (?:boil|melt|freeze|change the state of matter of) ([^.]+)\."),
        ("2-1", r"the temperature of ([^,]+),"),
        ("2-2 2-3", r"the melting point of (?:solid |liquid )?([^,]+),"),
        ("3-1 3-2", r"to turn on the (.+?)(?: by powering|\.)"),
        ("3-3 3-4", r"to determine if (.+?) is electrically"),
        ("5-1 5-2", r"to grow an? ([^.]+?)(?: plant from seed)?\."),
        ("6-1", r"the substance '([^']+)'"),
        ("6-2 6-3", r"to create ([a-z-]+ paint)\."),
        ("8-1 8-2", r"life stages of the (.+?)(?: plant)?,"),
    )
    for task in tasks.split()
}
_TRAIT: Final = re.compile(r"whether \S+ (\w+ \w+) is .*? in the (.+?) plant")
_TITLE: Final = re.compile(r"^book \(.*")


@dataclass(frozen=True)
class FoldedVariation:
    """A recorded training variation, the things that it asks for, and the folds that these are in."""

    task_id: str
    variation: int
    things: tuple[str, ...]
    folds: frozenset[int]


def check_fold(fold: int) -> int:
    """The fold itself. Raises InvalidInput (field `fold`) that lists the folds."""
    if fold not in FOLDS:
        raise InvalidInput(f"There is no fold {fold}.", remedy=f"Folds are {', '.join(map(str, FOLDS))}.", field="fold")
    return fold


def fold_of(thing: str) -> int:
    """The fold of a thing; for one that the table lacks, a fold by its hash."""
    if thing in _FOLD_OF:
        return _FOLD_OF[thing]
    return int.from_bytes(hashlib.sha256(thing.encode()).digest()[:4], "big") % len(FOLDS)


def things_of(task_id: str, instruction: str, actions: Sequence[str] = ()) -> tuple[str, ...]:
    """The things that a variation asks for, in lower case, in order, each once.

    `actions` are those of a path that solves it; only 4-1 to 4-4 and 7-1 to 7-3 need them. Raises InvalidInput for an
    instruction that does not read as those of its task type.
    """
    text = instruction.lower()
    if task_id in _KIND_ONLY:
        names = [action.removeprefix(_FOCUS) for action in actions if action.startswith(_FOCUS)]
    elif planes := _PLANES.search(text):
        names = [f"plane {name}" if len(name) == 1 else name for name in planes.groups()]
    elif trait := _TRAIT.search(text):
        names = [f"{trait[1]} of {trait[2]}"]
    else:
        named = _NAMED[task_id].search(text) if task_id in _NAMED else None
        names = [named[1]] if named else []
    things = tuple(dict.fromkeys(_TITLE.sub("book", _AGE.sub("", name)) for name in names))
    if not things:
        raise InvalidInput(
            f"The instruction of task {task_id} names no thing of a fold: {instruction[:200]!r}.",
            remedy="Record its trajectories with this version: python -m training trajectories.",
            field="data",
        )
    return things


def folded(trajectories: Iterable[Trajectory]) -> list[FoldedVariation]:
    """The recorded training variations with their folds, in the order of task types and variations.

    The path itself (take 0) says what a variation asks for; without one, its first take.
    """
    first: dict[tuple[str, int], Trajectory] = {}
    for path in sorted(trajectories, key=lambda path: path.take):
        if path.split == "train":
            first.setdefault((path.task_id, path.variation), path)
    order = {task.id: place for place, task in enumerate(TASKS)}
    variations = []
    for (task_id, variation), path in sorted(first.items(), key=lambda entry: (order[entry[0][0]], entry[0][1])):
        things = things_of(task_id, path.task, [step.action for step in path.steps if not step.detour])
        variations.append(FoldedVariation(task_id, variation, things, frozenset(map(fold_of, things))))
    return variations


def left_out(trajectories: Sequence[Trajectory], fold: int) -> Callable[[Trajectory], bool]:
    """Whether a path is of a training variation that asks for a thing of the fold. Raises InvalidInput."""
    check_fold(fold)
    within = {(variation.task_id, variation.variation) for variation in folded(trajectories) if fold in variation.folds}
    return lambda path: (path.task_id, path.variation) in within


def held_out(trajectories: Sequence[Trajectory], fold: int, most: int) -> dict[str, dict[str, list[int]]]:
    """Variations to judge an agent by: of each task type at most `most`, by the thing of the fold that they ask for.

    Every thing's first variation comes before any thing's second one; within a thing they are spread over those that
    were recorded. A variation of two things counts for its first thing in the fold. Raises InvalidInput.
    """
    check_fold(fold)
    by_task: dict[str, dict[str, list[int]]] = {}
    for variation in folded(trajectories):
        if fold in variation.folds:
            thing = next(thing for thing in variation.things if fold_of(thing) == fold)
            by_task.setdefault(variation.task_id, {}).setdefault(thing, []).append(variation.variation)
    return {task: _spread(things, most) for task, things in by_task.items()}


def _spread(things: Mapping[str, list[int]], most: int) -> dict[str, list[int]]:
    share = -(-most // len(things))
    chosen = {thing: variations[:: max(1, len(variations) // share)][:share] for thing, variations in things.items()}
    ranked = sorted((rank, thing) for thing, variations in chosen.items() for rank in range(len(variations)))[:most]
    counts = {thing: sum(name == thing for _, name in ranked) for thing in chosen}
    return {thing: variations[: counts[thing]] for thing, variations in chosen.items() if counts[thing]}


def table(trajectories: Sequence[Trajectory]) -> str:
    """The folds as a Markdown table: for each task type the things of each fold, with their recorded variations."""
    lines = ["| task type | fold 0 | fold 1 | fold 2 |", "|---|---|---|---|"]
    variations = folded(trajectories)
    for task in TASKS:
        of_task = [variation for variation in variations if variation.task_id == task.id]
        cells = []
        for fold in FOLDS:
            counts: dict[str, int] = {}
            for variation in of_task:
                for thing in variation.things:
                    if fold_of(thing) == fold:
                        counts[thing] = counts.get(thing, 0) + 1
            cells.append(", ".join(f"{thing} {count}" for thing, count in sorted(counts.items())) or "none")
        lines.append(f"| {task.id} {task.name} | {' | '.join(cells)} |")
    return "\n".join(lines)
