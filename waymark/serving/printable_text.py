"""Text of callers where people and programs read it: one line, of bounded length."""

from __future__ import annotations


def printable(text: str, limit: int | None = None) -> str:
    """The text with everything escaped that a terminal or a log's reader could take for more than a character.

    Escaped are control characters, line and paragraph separators, marks of direction and lone surrogates, as Python
    writes them (`\\n`, `\\x1b`, `\\u202e`). What is over `limit` characters is cut, and the cut is shown.
    """
    shown = text if limit is None else text[: limit + 1]
    if not shown.isprintable():
        shown = "".join(
            character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
            for character in shown
        )
    if limit is not None and len(shown) > limit:
        return shown[: limit - 1] + "…"
    return shown
