"""The examples of docs/reference/prompt-formats.md are what the renderers write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import pytest

from waymark.contracts import Role
from waymark.serving.api.examples import ARRIVED
from waymark.worlds.registry import WORLD_NAMES, get_format, get_world

PAGE = (Path(__file__).parents[2] / "docs/reference/prompt-formats.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"\*`([\w-]+)`, (\w+)\*\n\n```text\n(.*?)\n```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("name", "role", "prompt"), EXAMPLES)
def test_an_example_is_what_the_format_renders(name: str, role: str, prompt: str) -> None:
    assert get_format(name).render(cast(Role, role), ARRIVED).rstrip() == prompt


def test_the_page_names_every_format() -> None:
    names = [form.name for world in WORLD_NAMES for form in get_world(world).formats]
    assert len(EXAMPLES) > 4
    assert [name for name in names if f"`{name.removesuffix('-nohistory')}`" not in PAGE] == []
