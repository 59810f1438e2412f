"""Writes results and statuses to Redis and reads them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import BaseModel, ValidationError

from waymark.agent.named_agents import name_of
from waymark.command_hints import command
from waymark.contracts import CheckpointMismatch, EpisodeResult, EvaluationStatus
from waymark.errors import RecordDamaged
from waymark.evaluation.result_json import read_result, write_result
from waymark.evaluation.run_folder import Evaluation
from waymark.evaluation.run_folder_checks import LINE_BYTES

_Model = TypeVar("_Model", bound=BaseModel)
_LONGEST = 8 * 1024 * 1024
"""Largest length of a record without turns, in characters."""
_REMEDY = (
    "It was written by another version of waymark, or damaged; "
    f"`{command('resume')} runs/ID` takes a run back from its folder."
)


def read(kind: type[_Model], text: str | bytes | None, record: str) -> _Model:
    """A record of Redis. Raises RecordDamaged, which names it."""
    if text is None:
        raise RecordDamaged(f"Redis has lost {record}.", remedy=_REMEDY)
    if len(text) > _LONGEST:
        raise unreadable(record, f"it is over {_LONGEST >> 20} MB")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise unreadable(record, error.errors()[0]["msg"]) from error


def unreadable(record: str, reason: str) -> RecordDamaged:
    """The error for a record that cannot be read."""
    return RecordDamaged(f"Redis holds {record}, but it cannot be read: {reason}.", remedy=_REMEDY)


def unpack(full: bytes, record: str) -> EpisodeResult:
    """A whole result as the trajectories hold it. Raises RecordDamaged."""
    try:
        return read_result(unpack_text(full, record))
    except ValidationError as error:
        raise unreadable(record, error.errors(include_input=False)[0]["msg"]) from error


def unpack_text(full: bytes, record: str) -> bytes:
    """The JSON of a whole result, at most `LINE_BYTES` of it. Raises RecordDamaged."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(full, LINE_BYTES)
    except zlib.error as error:
        raise unreadable(record, str(error)) from error
    if not stream.eof:
        raise unreadable(
            record, f"it is over {LINE_BYTES >> 20} MB" if stream.unconsumed_tail else "its end is missing"
        )
    return text


def pack(result: EpisodeResult) -> tuple[str, bytes]:
    """A result in the form of the key `results`, and in that of `trajectories`."""
    return result.without_trajectory().model_dump_json(), zlib.compress(write_result(result))


def milliseconds(created: str) -> int:
    """A time of creation in milliseconds, by which evaluations are sorted."""
    return round(datetime.fromisoformat(created).timestamp() * 1000)


def leased(pending: Mapping[str, int] | Exception) -> int:
    """The number of leases of a queue, from the answer of Redis, which is an error if there is no queue."""
    return 0 if isinstance(pending, Exception) else pending["pending"]


def status(row: Mapping[str, str], running: int, waiting: str | None = None) -> EvaluationStatus:
    """The status of an evaluation, from its hash, its number of leases, and the report of a waiting worker."""
    evaluation = read(Evaluation, row.get("evaluation"), "the header of an evaluation")
    finished = counter(row, "finished", 0, evaluation.episodes)
    score_sum = counter(row, "score_sum", 0, 100 * finished)
    return EvaluationStatus(
        id=evaluation.id,
        request=evaluation.request,
        state=_state(row, evaluation.episodes - finished, running),
        created=evaluation.created,
        versions=evaluation.versions,
        episodes=evaluation.episodes,
        finished=finished,
        errored=counter(row, "errored", 0, finished),
        running=running,
        mean_score=score_sum / finished if finished else None,
        agent_name=name_of(evaluation.request.agent),
        waiting=None if waiting is None else read(CheckpointMismatch, waiting, "why a worker waits"),
    )


def counter(row: Mapping[str, str], name: str, least: int, most: int) -> int:
    """A counter of an evaluation. Raises RecordDamaged for an impossible value."""
    text = row.get(name, "0")
    try:
        value = int(text)
    except ValueError:
        value = most + 1
    if not least <= value <= most:
        raise unreadable("the counters of an evaluation", f"{name} is {text[:40]!r}, and can be {least} to {most}")
    return value


def _state(
    row: Mapping[str, str], unfinished: int, running: int
) -> Literal["queued", "running", "cancelled", "finished"]:
    if not unfinished:
        return "finished"
    if "cancelled" in row:
        return "cancelled"
    return "running" if running or row.get("finished", "0") != "0" else "queued"
