"""The API key of a client: where it comes from, what it may look like, and the header that carries it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from waymark.errors import InvalidInput

API_KEY: Final = "WAYMARK_API_KEY"
"""The variable that holds the bearer key of a caller who is given none."""


def key_headers(api_key: str | None) -> Mapping[str, str]:
    """The header that carries a bearer key, by default that of the environment. Raises InvalidInput."""
    key = os.environ.get(API_KEY) if api_key is None else api_key
    return {"authorization": f"Bearer {check_key(key, API_KEY)}"} if key else {}


def check_key(key: str, setting: str) -> str:
    """The key, without blanks around it. Raises InvalidInput, which does not quote it, for one no header can hold."""
    key = key.strip()
    if not all("!" <= character <= "~" for character in key):
        raise InvalidInput(
            f"{setting} holds a character that a key cannot have: a blank, a line break, or one beyond ASCII.",
            remedy="Copy the key again; it is not shown here.",
            field=setting,
        )
    return key
