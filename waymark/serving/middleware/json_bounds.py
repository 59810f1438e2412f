"""The bound on how many values a JSON body may hold, checked before it is parsed.

One place for all lists and objects of all bodies. Two million zeros fit into 4 MB; parsed and validated they would be
gigabytes. The count looks at the text alone, with operations that run in C and are linear in it. A body with few
commas, as nearly all have, costs one pass of `count`. Each field says how long its list may be; the parser bounds the
depth.
"""

from __future__ import annotations

from typing import Final

from waymark.errors import InputTooLarge

MOST_VALUES: Final = 50_000
"""A list of 64 states with 40 turns each has 13,000."""
FEW_VALUES: Final = 4_096
"""For a body without states: 1,386 variations, or 1,024 prompts."""
STATE_VALUES: Final = 10_000
"""For a body with one state: 1,000 turns of three values, and as many sub-goals."""


def check_values(body: bytes | bytearray, most: int = MOST_VALUES) -> None:
    """Raise InputTooLarge when a JSON text holds more than `most` values.

    What is no JSON may pass or not; whoever parses it says what is wrong.
    """
    if body.count(b",") < most:
        return
    if b"\\" in body:  # so that every quote that is left begins or ends a text
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if body.count(b'"') <= 4 * most and _commas_outside_texts(body) < most:
        return
    raise InputTooLarge(f"The body holds more than {most:,} values.", remedy="Send several smaller requests.", field="")


def _commas_outside_texts(body: bytes | bytearray) -> int:
    return sum(part.count(b",") for part in body.split(b'"')[::2])
