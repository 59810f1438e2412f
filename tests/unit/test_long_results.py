"""Results of any length are read and written a few turns at a time, and come out the same."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from services.env_runner import json_answers
from services.env_runner.queue.records import pack, unpack
from tests import samples
from waymark.agent.replay import moments
from waymark.contracts import Considered, EpisodeResult, Opening, TurnRecord
from waymark.errors import RecordDamaged
from waymark.evaluation.result_json import SHORT_BYTES, TURNS_AT_ONCE, read_result, without_turns, write_result
from waymark.evaluation.run_folder_checks import LINE_BYTES
from waymark.evaluation.turn_explanation import explain
from waymark.worlds.registry import get_world

HOSTILE = 'x"},{"turn":1},{"turn": ]} \\"},{\\"turn\\":9 ,"trajectory":[ é\u2028'


def long(turns: int, text: str = HOSTILE) -> EpisodeResult:
    """An episode of so many turns, each with some text."""
    turn = TurnRecord(
        turn=1,
        subgoal="go(kitchen)",
        controller_called=True,
        action="look around",
        proposed=None,
        logprob=-0.1,
        observation=text,
        look="This room is called the kitchen.",
        subgoals=(Considered("go(kitchen)", -0.1), Considered(None, -2.0)),
    )
    trajectory = tuple(turn.model_copy(update={"turn": number + 1}) for number in range(turns))
    opening = Opening(task="Find a thing.", look="This room is called the hall.", inventory="nothing")
    changes = {"opening": opening, "trajectory": trajectory, "versions": samples.VERSIONS, "turns": turns}
    return samples.result("e").model_copy(update=changes)


@pytest.mark.parametrize("turns", [0, 1, TURNS_AT_ONCE, TURNS_AT_ONCE + 1, 3 * TURNS_AT_ONCE, 1_000])
@pytest.mark.parametrize("strict", [False, True])
def test_a_result_is_read_and_written_as_in_one_go(turns: int, strict: bool) -> None:
    result = long(turns)
    text = write_result(result)
    assert text == result.model_dump_json().encode()
    assert read_result(text, strict=strict) == result
    assert unpack(pack(result)[1], "it") == result


def test_a_long_result_is_read_in_parts() -> None:
    text = write_result(long(1_000))
    assert len(text) > SHORT_BYTES
    assert len(without_turns(text)) < 2_000


def test_a_long_result_is_read_after_it_was_edited() -> None:
    result = long(1_000)
    document = json.loads(write_result(result))
    assert read_result(json.dumps(document, indent=1).encode()) == result
    assert read_result(json.dumps(document, sort_keys=True).encode()) == result


@pytest.mark.parametrize(
    "damage", [(b'"look around"', b"7"), (b'"known":true', b'"known":true,"more":1'), (b"}]}", b"]}")]
)
def test_damage_in_the_last_turn_is_found(damage: tuple[bytes, bytes]) -> None:
    text = write_result(long(1_000, "short"))
    place = text.rindex(damage[0])
    with pytest.raises(ValidationError):
        read_result(text[:place] + damage[1] + text[place + len(damage[0]) :])


def test_a_record_that_unpacks_to_far_too_much_is_damaged() -> None:
    with pytest.raises(RecordDamaged, match="over 64 MB"):
        unpack(zlib.compress(b" " * (LINE_BYTES + 1), 1), "it")
    with pytest.raises(RecordDamaged, match="its end is missing"):
        unpack(zlib.compress(write_result(long(3)))[:-9], "it")


def test_nothing_after_the_explained_turn_is_looked_at() -> None:
    result = long(3)

    def turns() -> Iterator[TurnRecord]:
        yield from result.trajectory[:2]
        raise AssertionError("the third turn was looked at")

    looked: Any = result.model_copy(update={"trajectory": turns()})
    assert [moment.turn for moment in moments(looked, 10, of_turn=2)] == [2, 2]
    expected = [moment for moment in moments(result, 10) if moment.turn == 2]
    assert list(moments(result, 10, of_turn=2)) == expected


def test_a_turn_is_explained_in_the_world_that_was_played() -> None:
    express = get_world("textworld-express")
    versions = samples.VERSIONS.model_copy(update={"environment": f"{express.name} 1.1.0"})
    result = long(3).model_copy(update={"versions": versions})
    theirs = [moment.state for moment in moments(result, 1_000, express.agent) if moment.turn == 3]
    science = get_world("scienceworld").agent
    ours = [moment.state for moment in moments(result, 1_000, science) if moment.turn == 3]
    assert theirs != ours, "the two worlds name rooms in different ways"
    assert [model.state for model in explain(result, 3).models] == theirs


@pytest.mark.anyio
@pytest.mark.parametrize("turns", [1, 2_000])
async def test_a_long_answer_is_sent_in_pieces(turns: int) -> None:
    result = long(turns, "x" * 100)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is left to receive")

    await json_answers.of_result(result)({"type": "http"}, receive, send)
    pieces = [message["body"] for message in sent[1:]]
    assert b"".join(pieces) == write_result(result)
    assert dict(sent[0]["headers"])[b"content-length"] == b"%d" % len(b"".join(pieces))
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * (len(pieces) - 1) + [False]
    assert len(pieces) == 1 or max(map(len, pieces)) < 400_000
    assert (len(pieces) > 1) == (turns > 1)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_list_of_results_is_one_document(count: int) -> None:
    results = [long(2)] * count
    documents = [result.model_dump(mode="json") for result in results]
    assert json.loads(bytes(json_answers.of_list(results).body)) == documents
    assert json.loads(bytes(json_answers.of_items(results).body)) == {"items": documents}
