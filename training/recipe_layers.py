"""Recipes for several roles and sizes in one file, and changes to a recipe from the command line.

Besides its fields, a recipe file may hold `roles` and `sizes`: objects whose fields replace the others for that role or
size. A size takes precedence over a role, and `--set` over both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from waymark.errors import InvalidInput


def layered(values: Mapping[str, Any], source: str, role: str = "", size: str = "") -> dict[str, Any]:
    """The fields for one role and size; without a role those of all roles. Raises InvalidInput."""
    fields = {name: value for name, value in values.items() if name not in ("roles", "sizes")}
    for layer, chosen in (("roles", role), ("sizes", size)):
        known = values.get(layer, {})
        if not isinstance(known, dict) or not all(isinstance(changes, dict) for changes in known.values()):
            raise InvalidInput(
                f"{source} has {layer} that are not JSON objects.", remedy="Write each as {FIELD: VALUE}.", field=layer
            )
        if layer == "sizes" and chosen and chosen not in known:
            raise InvalidInput(
                f"{source} has no size {chosen!r}.",
                remedy=f"Use one of {', '.join(known)}." if known else "Leave out --size: this recipe has one size.",
                field="size",
            )
        fields |= known.get(chosen, {})
    return fields


def has_sizes(recipe: Path) -> bool:
    """Whether a recipe file holds several sizes; not where it cannot be read, which `read_recipe` tells."""
    try:
        return "sizes" in json.loads(recipe.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def parse_changes(changes: Iterable[str]) -> dict[str, Any]:
    """Parse `name=value` texts as fields. A value is JSON, or else text. Raises InvalidInput."""
    fields: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or not name.strip():
            raise InvalidInput(
                f"--set {change!r} names no field and value.",
                remedy="Write --set FIELD=VALUE, for example --set batch=16.",
                field="set",
            )
        try:
            fields[name.strip()] = json.loads(text)
        except ValueError:
            fields[name.strip()] = text
    return fields
