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
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from waymark.command_hints import install
from waymark.contracts import Considered, EpisodeResult
from waymark.errors import InvalidInput
from waymark.evaluation.result_json import few_turns, joined, write_parts

Format = Literal["jsonl", "csv", "parquet"]
MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
_ROWS: Final = 100
"""Largest number of rows of a row group of a Parquet file."""
_GROUP_BYTES: Final = 32_000_000
"""Bytes of turns after which a row group ends, even if it has fewer rows."""
_PIECE_BYTES: Final = 16_384
"""Smallest size of a piece of JSON lines or CSV in bytes. The last piece may be smaller."""
_REPLAY: Final = {"opening", "trajectory"}
"""Fields that CSV leaves out, because they are texts of many lines."""


def encode(results: Iterable[EpisodeResult], form: Format) -> Iterator[bytes]:
    """The pieces of a file in that format. Raises InvalidInput (field `format`) at the call, not at the first piece."""
    if form == "jsonl":
        return joined(_jsonl(results), _PIECE_BYTES)
    if form == "csv":
        return joined(_csv(results), _PIECE_BYTES)
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
    for result in results:
        yield from write_parts(result)
        yield b"\n"


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
    group = _Group(schema)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for result in results:
            group.add(result)
            if group.is_full:
                writer.write_batch(group.take())
                yield file.take()
        if group.heads:
            writer.write_batch(group.take())
    yield file.take()


class _Group:
    """Rows of a Parquet file that are written together. Turns are kept as Arrow arrays, the rest as Python objects."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._column = schema.get_field_index("trajectory")
        self.heads: list[dict[str, Any]] = []
        self._turns: list[Any] = []
        self._ends = [0]
        """For each row, the number of turns up to its end, after a first 0: the offsets of an Arrow list array."""
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether the group must be written before another row is added."""
        return len(self.heads) >= _ROWS or self._bytes >= _GROUP_BYTES

    def add(self, result: EpisodeResult) -> None:
        """Add a row."""
        import pyarrow as pa

        self.heads.append(result.model_dump(mode="json", exclude={"trajectory"}))
        for turns in few_turns(result):
            few = pa.array([_named(turn.model_dump(mode="json")) for turn in turns], self._type.value_type)
            self._turns.append(few)
            self._bytes += few.nbytes
        self._ends.append(self._ends[-1] + len(result.trajectory))

    def take(self) -> Any:
        """The rows as a record batch; the group is empty then."""
        import pyarrow as pa

        columns = self._schema.remove(self._column)
        batch = pa.RecordBatch.from_pylist(self.heads, columns)
        turns = pa.concat_arrays(self._turns) if self._turns else pa.array([], self._type.value_type)
        column = pa.ListArray.from_arrays(pa.array(self._ends, pa.int32()), turns, type=self._type)
        self.heads, self._turns, self._ends, self._bytes = [], [], [0], 0
        return batch.add_column(self._column, self._schema.field(self._column), column)

    @property
    def _type(self) -> Any:
        return self._schema.field(self._column).type


def _named(turn: dict[str, Any]) -> dict[str, Any]:
    """A turn as a dict, in which each alternative is a dict with named fields instead of a pair."""
    for name in ("subgoals", "actions"):
        turn[name] = [dict(zip(Considered._fields, pair, strict=True)) for pair in turn[name]]
    return turn


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
