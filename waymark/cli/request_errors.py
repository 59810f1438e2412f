"""What the contracts refuse, in one line of our own, for callers that build requests themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydantic import ValidationError

from waymark.errors import InvalidInput

_SHOWN: Final = 40
"""Characters of the input that an error quotes."""


@contextmanager
def checked() -> Iterator[None]:
    """Raise InvalidInput, which names the first field and quotes its value, where a contract is broken."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            f"{where}: {first['msg']}; got {str(first['input'])[:_SHOWN]}.",
            remedy="The HTTP reference lists what a request may hold.",
            field=where,
        ) from error
