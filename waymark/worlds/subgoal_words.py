"""Sub-goals that a model writes as words."""

from __future__ import annotations

import re

from waymark.errors import UnparsableAction

_VERB = re.compile(r"[^\W\d][\w-]*")


def subgoal_of_words(words: str) -> str:
    """`move apple , red box` -> `move(apple, red box)`.

    Raises UnparsableAction if the words do not begin with a verb, or hold half of a pair of parentheses.
    """
    verb, _, rest = words.partition(" ")
    if not _VERB.fullmatch(verb) or rest.count("(") != rest.count(")"):
        raise UnparsableAction("The model wrote no verb with its arguments.", remedy="Ask for more alternatives.")
    return f"{verb}({rest.replace(' , ', ', ')})"
