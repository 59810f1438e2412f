"""Reads and writes whole results as JSON, a few turns at a time.

pydantic holds the interpreter lock while it reads or writes a document. An episode of 20,000 turns has 20 MB and takes
two seconds, and all other threads of a service wait meanwhile, its event loop too. So long documents are split between
turns. Each part is read or written separately, and other threads run in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import TypeAdapter

from waymark.contracts import EpisodeResult, TurnRecord

TURNS_AT_ONCE: Final = 50
"""Turns that are read or written without a pause."""
SHORT_BYTES: Final = 100_000
"""A document of so many bytes is read in one go: some 5 ms."""
_TURNS: Final = b',"trajectory":['
_END: Final = b"]}"
_LAST_BYTES: Final = 64
"""The end of a document is looked for in so many bytes. A copy of a long document stops all threads for 50 ms."""
_NEXT_TURN: Final = b'},{"turn":'
"""The text between two turns. It cannot occur elsewhere, because JSON escapes quotes in texts."""

_turns: Final[TypeAdapter[tuple[TurnRecord, ...]]] = TypeAdapter(tuple[TurnRecord, ...])


def without_turns(text: bytes) -> bytes:
    """A result's JSON, cut before its turns if these are its last field; else unchanged.

    No text can contain the separator, because JSON escapes quotes in texts.
    """
    place = text.find(_TURNS)
    return text if place < 0 or not text[-_LAST_BYTES:].rstrip().endswith(_END) else text[:place] + b"}"


def read_result(text: bytes, *, strict: bool = False) -> EpisodeResult:
    """A whole result from its JSON; `strict` as pydantic has it. Raises ValidationError.

    A document that was not written here, e.g. one with blanks between its fields, is read in one go.
    """
    head = text if len(text) <= SHORT_BYTES else without_turns(text)
    result = EpisodeResult.model_validate_json(head, strict=strict)
    if head is text:
        return result
    begin, end = len(head) - 1 + len(_TURNS), text.rindex(_END)
    turns: list[TurnRecord] = []
    for part in _parts(text, begin, end):
        turns += _turns.validate_json(part, strict=strict)
    return result.model_copy(update={"trajectory": tuple(turns)})


def write_result(result: EpisodeResult) -> bytes:
    """The same as `model_dump_json`, as bytes."""
    return b"".join(write_parts(result))


def write_parts(result: EpisodeResult) -> Iterator[bytes]:
    """The result as JSON in parts of a few turns each. Joined, they are `model_dump_json` as bytes."""
    if len(result.trajectory) <= TURNS_AT_ONCE:
        yield result.model_dump_json().encode()
        return
    before = result.model_copy(update={"trajectory": ()}).model_dump_json().encode().removesuffix(_END)
    for turns in few_turns(result):
        yield before + _turns.dump_json(turns)[1:-1]
        before = b","
    yield _END


def few_turns(result: EpisodeResult) -> Iterator[tuple[TurnRecord, ...]]:
    """The turns of a result in groups of `TURNS_AT_ONCE`, small enough to be handled without a pause."""
    return (
        result.trajectory[first : first + TURNS_AT_ONCE] for first in range(0, len(result.trajectory), TURNS_AT_ONCE)
    )


def joined(parts: Iterable[bytes], piece_bytes: int) -> Iterator[bytes]:
    """Parts in pieces of at least so many bytes, so short that sending one does not make other requests wait. The last
    piece may be shorter.
    """
    piece = bytearray()
    for part in parts:
        piece += part
        if len(piece) >= piece_bytes:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _parts(text: bytes, begin: int, stop: int) -> Iterator[bytes]:
    """The turns of a document, which stand from `begin` to `stop`, as lists of a few."""
    while begin < stop:
        end = begin
        for _ in range(TURNS_AT_ONCE):
            end = text.find(_NEXT_TURN, end + 1, stop)
            if end < 0:
                yield b"[" + text[begin:stop] + b"]"
                return
        yield b"[" + text[begin : end + 1] + b"]"
        begin = end + 2
