"""Task types 7 and 8: which animal lives longest, and the stages of a life."""

from __future__ import annotations

import re

from training.worlds.scienceworld.expert.walk import Walk, words_of


def answer_by_name(walk: Walk) -> None:
    """7-1 to 7-3: what is known of animals answers; the oracle's answers teach it."""
    walk.go("outside")
    for action in walk.oracle:
        if action.startswith("focus on "):
            walk.act(action)


def animal_stages(walk: Walk) -> None:
    """8-1: focus on each stage as soon as it is there."""
    called = [action.removeprefix("focus on ") for action in walk.oracle if action.startswith("focus on ")]
    stages = [_as_listed(name.removesuffix(" in outside")) for name in called]
    walk.go("outside")
    for stage in stages:
        if walk.did(f"focus on {stage}"):
            continue
        walk.wait_until(lambda stage=stage: walk.sees(stage))  # type: ignore[misc]
        walk.go("outside")
        walk.act(f"focus on {stage}")


def plant_stages(walk: Walk) -> None:
    """8-2: focus on each stage as soon as it is there, in whichever pot."""
    (plant,) = words_of(r"life stages of the ([a-z ]+) plant", walk.task)
    walk.go("outside")
    for stage in ("seed", "seedling", "adult", "reproducing"):
        thing = f"{plant} seed" if stage == "seed" else f"{plant} tree in the {stage} stage"
        if walk.did(f"focus on {thing}"):
            continue
        walk.wait_until(lambda thing=thing: walk.sees(thing))  # type: ignore[misc]
        walk.go("outside")
        walk.focus(thing)


_LISTED_AS = {"common toad": "frog", "moth": "butterfly"}
"""Animals that are listed by another name than the task's."""


def _as_listed(stage: str) -> str:
    """A stage of an animal as a room lists it.

    >>> _as_listed("egg moth"), _as_listed("caterpillar moth"), _as_listed("hatchling turtle")
    ('butterfly egg', 'caterpillar', 'hatchling turtle')
    """
    for animal, listed in _LISTED_AS.items():
        stage = stage.replace(animal, listed)
    stage = re.sub(r"^(egg|pupa) (.+)", r"\2 \1", stage)
    return re.sub(r"^(tadpole|caterpillar) .+", r"\1", stage)
