"""The reference of recipes: every field with its type, unit, default and meaning, as a table and as a page.

`python -m training.reference` writes docs/reference/recipe.md.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from training.recipe import Recipe

PAGE: Final = Path(__file__).parents[1] / "docs" / "reference" / "recipe.md"
_BOUNDS: Final = {
    "minimum": "at least {}",
    "exclusiveMinimum": "over {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "under {}",
}


@dataclass(frozen=True)
class Field:
    """One field of a recipe, for people."""

    name: str
    kind: str
    unit: str
    default: str
    meaning: str


def recipe_fields() -> list[Field]:
    """All fields in the order of the class."""
    properties = TypeAdapter(Recipe).json_schema()["properties"]
    return [
        Field(
            name=name,
            kind=_kind(schema),
            unit=schema.get("unit", ""),
            default=json.dumps(schema["default"]) if "default" in schema else "{}",
            meaning=" ".join(schema.get("description", "").split()),
        )
        for name, schema in properties.items()
    ]


def recipe_help() -> str:
    """The fields for a terminal, each with its meaning on a line of its own."""
    return "\n".join(
        f"{field.name}: {field.kind}{f', in {field.unit}' if field.unit else ''}. Default: {field.default}.\n"
        + textwrap.fill(field.meaning, 76, initial_indent="    ", subsequent_indent="    ")
        for field in recipe_fields()
    ).replace("`", "")


def recipe_page() -> str:
    """The fields as a Markdown page."""
    rows = "".join(
        f"| `{field.name}` | {field.kind} | {field.unit} | `{field.default}` | {field.meaning} |\n"
        for field in recipe_fields()
    )
    return (
        "# Recipes\n\n"
        "A recipe is a JSON object that decides a fine-tuning run, all but its data. Give it to\n"
        "`python -m training finetune ROLE --recipe FILE`. Fields that you leave out have their default.\n"
        "`python -m training finetune --help-recipe` prints the same; recipes that ship are in `training/recipes/`.\n\n"
        "This page is generated: `python -m training.reference`.\n\n"
        "| field | type | unit | default | meaning |\n|---|---|---|---|---|\n" + rows
    )


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "object":
        return "object: verb to number, " + _bounds(schema["additionalProperties"])
    names = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    return ", ".join(filter(None, (names[schema["type"]], _bounds(schema))))


def _bounds(schema: dict[str, Any]) -> str:
    return ", ".join(text.format(f"{schema[name]:g}") for name, text in _BOUNDS.items() if name in schema)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(recipe_page(), encoding="utf-8")
