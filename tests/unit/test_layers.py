"""One recipe file for several roles and sizes, and changes to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.recipe import read_recipe
from training.recipe_layers import layered, parse_changes
from training.reproduce.plan import ROLES
from training.reproduce.t5_sizes import FLAN_T5
from waymark.errors import InvalidInput

RECIPES = Path(__file__).parents[2] / "training" / "recipes"


@pytest.mark.parametrize("role", ROLES)
def test_the_large_size_is_the_recipe_that_shipped_before(role: str) -> None:
    assert read_recipe(RECIPES / "flan-t5.json", role, "large") == read_recipe(RECIPES / f"flan-t5-large-{role}.json")


def test_every_size_sees_as_many_examples_an_update() -> None:
    recipes = [read_recipe(RECIPES / "flan-t5.json", "executor", size) for size in FLAN_T5]
    assert {recipe.batch * recipe.accumulate for recipe in recipes} == {32}
    assert [recipe.base for recipe in recipes] == [f"google/flan-t5-{size}" for size in FLAN_T5]


def test_changes_override_sizes_and_sizes_override_roles() -> None:
    values = {"batch": 1, "roles": {"flat": {"batch": 2}}, "sizes": {"xl": {"batch": 3}}}
    assert [layered(values, "it", *chosen)["batch"] for chosen in ((), ("flat",), ("flat", "xl"))] == [1, 2, 3]
    assert parse_changes(["batch=4", "base=google/flan-t5-base", "recompute=true"]) == {
        "batch": 4,
        "base": "google/flan-t5-base",
        "recompute": True,
    }


def test_an_unknown_size_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"no size 'huge'\. Use one of small, base, large, xl"):
        read_recipe(RECIPES / "flan-t5.json", "flat", "huge")
    with pytest.raises(InvalidInput, match="one size"):
        read_recipe(RECIPES / "small.json", "flat", "large")
    with pytest.raises(InvalidInput, match="names no field"):
        parse_changes(["batch"])


@pytest.mark.parametrize(("size", "millions"), [("small", 76.9), ("base", 247.5), ("large", 783.0), ("xl", 2849.5)])
def test_computed_sizes_are_those_of_flan_t5(size: str, millions: float) -> None:
    assert FLAN_T5[size].parameters / 1e6 == pytest.approx(millions, abs=0.1)
    large = read_recipe(RECIPES / "flan-t5.json", "executor", "large")
    assert FLAN_T5[size].hours(large, 1000, 1e14) > 0
