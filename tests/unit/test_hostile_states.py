"""Rendering the largest admitted states costs little, whatever they say."""

from __future__ import annotations

import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import hostile
from waymark.contracts import Role
from waymark.errors import UnparsableAction
from waymark.worlds.registry import get_format
from waymark.worlds.scienceworld import actions
from waymark.worlds.scienceworld.prompts.text_normalisation import plain
from waymark.worlds.scienceworld.random_subgoals import visible_rooms, visible_things
from waymark.worlds.scienceworld.scene import room_of

FORMATS = ("seed", "compact", "transcript", "seed-nohistory", "compact-nohistory")
_SECONDS = 0.4
"""Several times what the slowest takes (0.05 s): what grows faster than its text takes minutes."""


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("turns", [160, 1_000])
def test_a_hostile_state_is_rendered_at_once(name: str, turns: int) -> None:
    for shape in hostile.SCENE_SHAPES:
        state = hostile.state(shape, turns=turns)
        for role in get_args(Role):
            began = time.thread_time()
            get_format(name).render(role, state)
            assert time.thread_time() - began < _SECONDS, (role, shape)


@pytest.mark.parametrize("shape", hostile.SCENE_SHAPES)
def test_texts_are_processed_in_time_proportional_to_their_length(shape: str) -> None:
    def read(text: str) -> None:
        plain(text)
        room_of(text)
        look = hostile.state(shape, turns=0).model_copy(update={"look": text})
        visible_rooms(look)
        visible_things(look)

    short, long = ((shape * 20_000)[:size] for size in (hostile.SHORT, hostile.LONG))
    assert hostile.growth_of(read, short, long) <= hostile.GROWTH


@pytest.mark.parametrize("row", actions.GRAMMAR, ids=lambda row: row.pattern)
def test_an_action_is_read_in_proportion_to_its_length(row: actions.Row) -> None:
    def parse(text: str) -> None:
        try:
            actions.parse(text)
        except UnparsableAction:
            return

    for pattern in (row.pattern, *row.aliases):
        for filler in ("door to ", "a to b in ", "x containing ", "door ", "inclined plane into on ", "1"):
            short, long = (pattern.replace("{}", filler * (size // len(filler))) for size in (5_000, 20_000))
            assert hostile.growth_of(parse, short, long) <= hostile.GROWTH, (pattern, filler)


@given(st.lists(st.sampled_from("door,inclined plane,a,in,into,to,on,with,containing,use,move,put,pour".split(","))))
def test_an_action_that_is_read_spells_its_own_text(words: list[str]) -> None:
    for opening in ("connect", "move", "pour", "dunk", "use"):
        text = " ".join([opening, *words])
        try:
            action = actions.parse(text)
        except UnparsableAction:
            continue
        assert all(argument and argument in text for argument in action.args)
