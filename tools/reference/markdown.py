"""Markdown pieces that the pages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def one_line(text: str) -> str:
    """The text without line breaks and repeated blanks."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """The text as the content of a table's cell."""
    return one_line(text).replace("|", "\\|")


def code(text: str) -> str:
    """The text as code; nothing for nothing."""
    return f"`{text}`" if text else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, and an empty one."""
    lines = [list(heads), ["---"] * len(heads), *([cell(text) for text in row] for row in rows)]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def number(value: float) -> str:
    """A number with commas between thousands.

    >>> number(4096), number(0.5), number(30.0)
    ('4,096', '0.5', '30')
    """
    return f"{int(value):,}" if value == int(value) else f"{value:,}"
