"""Exports results for other tools: each episode is a line of JSON, a row of CSV or a row of Parquet.

JSON lines and Parquet hold every turn, nested as in the contracts. CSV is flat and leaves out turns and opening; other
nested values get columns of their own, e.g. `versions.executor.sha256`. In every format results are written one after
another, so an evaluation of any size needs no more memory than a hundred episodes.

The only import of pyarrow outside of training; it is there with the extra `parquet`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from waymark.contracts import Considered, EpisodeResult
from waymark.errors import InvalidInput
from waymark.evaluation.long_results import write_result
from waymark.hints import install

Format = Literal["jsonl", "csv", "parquet"]
MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
_ROWS: Final = 100
"""Rows of a group in a Parquet file."""
_REPLAY: Final = {"opening", "trajectory"}
"""Fields that CSV leaves out, because they are texts of many lines."""


def encode(results: Iterable[EpisodeResult], form: Format) -> Iterator[bytes]:
    """The pieces of a file in that format. Raises InvalidInput (field `format`) at the call, not at the first piece."""
    if form == "jsonl":
        return _jsonl(results)
    if form == "csv":
        return _csv(results)
    if find_spec("pyarrow") is None:
        raise InvalidInput(
            "Parquet is written by pyarrow, which is not installed here.",
            remedy=f"Run `{install('parquet')}`, or choose jsonl or csv.",
            field="format",
        )
    return _parquet(results)


def write(pieces: Iterable[bytes], path: Path) -> None:
    """Write a file of pieces, completely or not at all. Raises InvalidInput (field `file`) if it cannot be written."""
    draft = path.parent / f"{path.name}.part"
    try:
        with draft.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        draft.replace(path)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written: {error.strerror}.", remedy="Make room, or name another place.", field="file"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def _jsonl(results: Iterable[EpisodeResult]) -> Iterator[bytes]:
    return (write_result(result) + b"\n" for result in results)


def _csv(results: Iterable[EpisodeResult]) -> Iterator[bytes]:
    line = io.StringIO()
    rows = csv.writer(line, lineterminator="\n")
    columns = [path for path in _columns(EpisodeResult) if path[0] not in _REPLAY]
    rows.writerow(".".join(path) for path in columns)
    for result in results:
        row = result.model_dump(mode="json", exclude=_REPLAY)
        rows.writerow(_cell(row, path) for path in columns)
        yield _drained(line).encode()
    yield _drained(line).encode()


def _drained(text: io.StringIO) -> str:
    written = text.getvalue()
    text.seek(0)
    text.truncate()
    return written


def _columns(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """The path of every value in a model that is no list, in the order of its fields."""
    for name, field in model.model_fields.items():
        inner = _inner(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from ((name, *rest) for rest in _columns(inner))
        elif get_origin(inner) is not tuple:
            yield (name,)


def _cell(row: Mapping[str, Any], path: tuple[str, ...]) -> object:
    """The value at a path; empty below a null."""
    value: Any = row
    for name in path:
        value = None if value is None else value[name]
    return str(value).lower() if isinstance(value, bool) else value


def _parquet(results: Iterable[EpisodeResult]) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(list(_fields(EpisodeResult)))
    file = _Pieces()
    rest = iter(results)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while rows := [_named(result.model_dump(mode="json")) for result in islice(rest, _ROWS)]:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
            yield file.take()
    yield file.take()


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose alternatives are structs rather than pairs."""
    for turn in row["trajectory"]:
        for name in ("subgoals", "actions"):
            turn[name] = [dict(zip(Considered._fields, pair, strict=True)) for pair in turn[name]]
    return row


def _fields(model: type[BaseModel]) -> Iterator[Any]:
    """A model's fields as Arrow's, each of which may be null."""
    import pyarrow as pa

    return (pa.field(name, _arrow(field.annotation)) for name, field in model.model_fields.items())


def _arrow(annotation: Any) -> Any:
    """The Arrow type of a contract's annotation."""
    import pyarrow as pa

    inner = _inner(annotation)
    origin = get_origin(inner)
    if origin is Literal:
        return pa.string()
    if origin is tuple:
        return pa.list_(_arrow(get_args(inner)[0]))
    if inner is Considered:
        return pa.struct([pa.field(name, _arrow(kind)) for name, kind in get_type_hints(Considered).items()])
    if issubclass(inner, BaseModel):
        return pa.struct(list(_fields(inner)))
    return {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[inner]


def _inner(annotation: Any) -> Any:
    """An annotation without its constraints and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _inner(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        (only,) = (kind for kind in get_args(annotation) if kind is not type(None))
        return _inner(only)
    return annotation


class _Pieces(io.RawIOBase):
    """A file object whose content is taken away while it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Keep it until it is taken."""
        self._written += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._written)
        self._written.clear()
        return taken
