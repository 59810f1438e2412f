"""Normalises ScienceWorld's texts (a look, an inventory, an answer) for our own formats.

Everything becomes lower-case words between single spaces, so that a name looks the same everywhere and a model can copy
it word for word. Air, articles, empty surfaces and open doors, which every room has, are removed; about a fifth of the
text is left. Numbers to compare are written digit by digit at equal length, names with hyphens word by word.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from waymark.byte_cache import ByteCache
from waymark.worlds.scienceworld.prompts.text_limits import CACHE_BYTES, CHARACTERS_A_WORD
from waymark.worlds.scienceworld.scene import canonical


def _compiled(*rewrites: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), text) for pattern, text in rewrites)


# Every pattern here takes time in proportion to its text, since a caller may send any.
_EMPTY = _compiled(
    (r"\(containing nothing\)|\(n\)", ""),
    (r"\. on the [a-z ]+ is: nothing\.", ""),
    (r"\. in the [a-z ]+ is: nothing\.", ""),
    (r"\. the [a-z ]+ door is closed\.", " closed"),
    (r"\. the [a-z ]+ door is open\.", " open"),
)
"""Replacements that are made first: empty things, open and closed doors."""
_REWRITES = _compiled(
    (r"\(containing ", "( "),
    (r", which is turned (on|off)", r" \1"),
    (r", which is (on|off|activated|deactivated)", r" \1"),
    (r", currently reading a temperature of (-?\d+) degrees celsius", r" \1"),
    (r"(?<=\d)\.0 degrees celsius", " degrees celsius"),
    (r"approximately (\d+)% down the plane", r"\1 down"),
    (r"\ba substance called\b", ""),
    # Articles, but not the letter that names an unknown substance, plant or plane.
    (r"(?<!substance )(?<!unknown )(?<!plane )\b(?:a|an|the)\b", ""),
    (r"([(),:;])", r" \1 "),
    (r"\.(?!\d)", " "),
    (r"'", " "),
)
_WORDS = re.compile(r"[a-z ]+")
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")
_NUMBER = re.compile(r"(-?)\b(\d+) (degrees|down)\b(?: celsius)?")


def join(parts: Sequence[str]) -> str:
    """The parts of a prompt, without empty ones."""
    return apart(" | ".join(part for part in parts if part))


def apart(text: str) -> str:
    """`yellow-orange` as `yellow - orange`, so that the parts of a name can be read and copied word by word."""
    return _HYPHEN.sub(" - ", text)


def _rewritten(text: str) -> str:
    text = canonical(text.lower())
    for pattern, replacement in _EMPTY:
        text = pattern.sub(replacement, text)
    text = _holds(text, " in the ", (" is",))
    text = _holds(text, " on the ", (" is", " you see"), dot=True)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return " ".join(_NUMBER.sub(_digits, text).split())


def _holds(text: str, opening: str, endings: tuple[str, ...], *, dot: bool = False) -> str:
    """`in the red box is: a pin` as `holds a pin`, `dot` with a full stop before it: all of `OPENING … ENDING: `.

    A regular expression would start at each opening and scan to the next colon, which takes quadratic time.
    """
    if ": " not in text:
        return text
    parts: list[str] = []
    at = 0
    for words in _WORDS.finditer(text):
        ending = next((known for known in endings if text.endswith(known, words.start(), words.end())), None)
        if ending is None or not text.startswith(": ", words.end()):
            continue
        begin = max(words.start(), at)
        place = text.find(opening, begin, words.end() - len(ending) - 1)
        if place < 0:
            continue
        follows = dot and place == words.start() > at and text[place - 1] == "."
        parts += [text[at : place - follows], " holds "]
        at = words.end() + len(": ")
    return "".join([*parts, text[at:]])


def _digits(match: re.Match[str]) -> str:
    """`85 degrees` as `0 0 8 5 degrees`, `5 down` as `0 0 5 down`: numbers that are compared align."""
    sign, number, unit = match.groups()
    width = 4 if unit == "degrees" else 3
    return " ".join([*(["-"] if sign else []), *number.zfill(width), unit])


# Rooms say the same lines step after step, and rewriting them is most of what rendering costs.
plain = ByteCache(_rewritten, CACHE_BYTES, sys.getsizeof)
"""The text as lower-case words between single spaces, without boilerplate."""


def shortened(text: str, words: int) -> str:
    """The first words of a text, normalised by `plain`."""
    return " ".join(plain(text[: words * CHARACTERS_A_WORD]).split()[:words])
