"""Results as files: what is read back is what was written."""

from __future__ import annotations

import csv
import io
import itertools
import operator
import resource
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.samples import VERSIONS, result
from waymark.contracts import AgentConfig, EpisodeError, EpisodeResult, TurnRecord
from waymark.errors import InvalidInput
from waymark.evaluation.export import MEDIA_TYPES, Format, encode, write

TURN = TurnRecord(
    turn=1,
    subgoal="wait(1)",
    controller_called=True,
    action="wait1",
    proposed=None,
    logprob=-0.1,
    observation="a,\n“b”",
)
ERROR = EpisodeError(kind="EnvironmentFault", message='It said "no",\nand died.')
PLAYED = result("a").model_copy(update={"agent": AgentConfig(), "versions": VERSIONS, "trajectory": (TURN, TURN)})
RESULTS = [PLAYED, result("b", score=0, error=ERROR)]


def test_json_lines_hold_all_there_is() -> None:
    lines = b"".join(encode(RESULTS, "jsonl")).splitlines()
    assert [EpisodeResult.model_validate_json(line) for line in lines] == RESULTS


def test_parquet_holds_all_there_is_in_groups_of_rows() -> None:
    results = RESULTS * 60
    file = parquet.ParquetFile(io.BytesIO(b"".join(encode(results, "parquet"))))
    assert [EpisodeResult.model_validate(row) for row in file.read().to_pylist()] == results
    assert file.num_row_groups == 2


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_long_episode_is_written_in_pieces(form: Format) -> None:
    turn = TURN.model_copy(update={"observation": "x" * 20_000})
    long = PLAYED.model_copy(update={"trajectory": (turn,) * 200})
    pieces = list(encode([long] * 18, form))
    if form == "jsonl":
        assert max(map(len, pieces)) < 1_500_000
        lines = b"".join(pieces).splitlines()
        assert [EpisodeResult.model_validate_json(line) for line in lines] == [long] * 18
    else:
        file = parquet.ParquetFile(io.BytesIO(b"".join(pieces)))
        assert file.num_row_groups == 3  # of some 36 MB and 72 MB
        rows = file.read_row_group(0, ["id", "trajectory"]).to_pylist()
        assert [(row["id"], len(row["trajectory"])) for row in rows] == [("a", 200)] * len(rows)


def test_csv_has_one_row_for_each_episode() -> None:
    played, failed = csv.DictReader(io.StringIO(b"".join(encode(RESULTS, "csv")).decode(), newline=""))
    assert (played["id"], played["score"], played["success"], played["error.kind"]) == ("a", "50", "false", "")
    assert played["versions.executor.sha256"] == VERSIONS.executor.sha256
    assert played["versions.controller.sha256"] == ""
    assert played["agent.controller_calls"] == "on_end"
    assert "trajectory" not in played
    assert (failed["error.message"], failed["agent.subgoals"]) == (ERROR.message, "")


@pytest.mark.parametrize("form", MEDIA_TYPES)
def test_an_export_begins_before_the_last_result_is_read(form: Format) -> None:
    results = itertools.repeat(PLAYED, 1_000)
    pieces = encode(results, form)
    assert next(pieces)
    assert operator.length_hint(results) > 800
    assert len(list(pieces)) >= 9


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write(encode(RESULTS, "jsonl"), tmp_path / "results.jsonl")
    assert (tmp_path / "results.jsonl").read_bytes() == b"".join(encode(RESULTS, "jsonl"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(InvalidInput, match="cannot be written: File too large") as refused:
            write(itertools.repeat(b"more", 100_000), tmp_path / "too-large.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.value.field == "file"
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


def test_parquet_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInput, match="-m pip install pyarrow==") as refused:
        encode(RESULTS, "parquet")
    assert refused.value.field == "format"
