"""A run folder that was edited: each fault is told in one line, and nothing waits or fills the memory."""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.samples import evaluation, result
from waymark.contracts import AgentConfig, EpisodeResult, EvaluationRequest, Opening, TurnRecord
from waymark.errors import InvalidInput, NotFound
from waymark.evaluation import run_folder_checks
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import EPISODES, HEADER, RunFolder

REQUEST = EvaluationRequest(tasks=("1-1", "4-2"), variations=(0, 1), repeats=2)
Edit = Callable[[dict[str, Any]], object]


def of(task: str, variation: int, repeat: int = 0, **changed: object) -> EpisodeResult:
    """A result of the evaluation below."""
    specs = {(spec.task, spec.variation, spec.repeat): spec.id for spec in episodes("sample", REQUEST)}
    name = specs.get((task, variation, repeat), f"{task}_{variation}_other")
    turn = TurnRecord(turn=1, subgoal=None, controller_called=False, action="wait1", proposed=None, logprob=-1.0)
    update = {"repeat": repeat, "trajectory": (turn,), "opening": Opening(task="t", look="l", inventory="")} | changed
    return result(name, task=task, variation=variation).model_copy(update=update)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run of eight episodes, two of which are finished."""
    run = RunFolder(tmp_path / "run")
    run.begin(evaluation("sample", REQUEST, episodes=8))
    run.append(of("1-1", 0))
    run.append(of("4-2", 0))
    return run


@pytest.fixture
def little_memory() -> Iterator[None]:
    """At most half a gigabyte more than now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 29), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def fault(run: RunFolder) -> str:
    """What is said of the folder: one line, with a remedy."""
    with pytest.raises(InvalidInput) as refused:
        list(run.checked_results())
    assert refused.value.remedy
    message = str(refused.value)
    assert message.isprintable()
    assert str(run.path) in message
    return message


def edit_header(run: RunFolder, edit: Edit) -> None:
    document = json.loads((run.path / HEADER).read_text())
    edit(document)
    (run.path / HEADER).write_text(json.dumps(document))


def edit_last_line(run: RunFolder, edit: Edit) -> None:
    *lines, last = (run.path / EPISODES).read_text().splitlines()
    document = json.loads(last)
    edit(document)
    (run.path / EPISODES).write_text("\n".join([*lines, json.dumps(document), ""]))


def test_a_folder_as_it_was_written_is_accepted(folder: RunFolder) -> None:
    assert list(folder.checked_results()) == list(folder.results()) == [of("1-1", 0), of("4-2", 0)]
    folder.append(of("1-1", 0, repeat=1))
    folder.append(of("4-2", 0, stopped="moves", score=100))
    assert [result.id for result in folder.checked_results()] == [of("1-1", 0).id, of("1-1", 0, 1).id, of("4-2", 0).id]
    with (folder.path / EPISODES).open("a") as file:
        file.write('{"id": "torn')
    assert len(list(folder.checked_results())) == 3


# --- what is no file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [HEADER, EPISODES])
@pytest.mark.parametrize("kind", ["FIFO", "directory", "device", "socket", "link to a FIFO", "endless device"])
def test_pipes_and_folders_are_refused_without_waiting(folder: RunFolder, name: str, kind: str, tmp_path: Path) -> None:
    path = folder.path / name
    path.unlink()
    match kind:
        case "FIFO":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device" | "endless device":
            path.symlink_to("/dev/null" if kind == "device" else "/dev/zero")
        case "link to a FIFO":
            os.mkfifo(tmp_path / "fifo")
            path.symlink_to(tmp_path / "fifo")
        case "socket":
            with socket.socket(socket.AF_UNIX) as opened:
                before = Path.cwd()
                os.chdir(folder.path)  # the path of a socket is short
                opened.bind(name)
                os.chdir(before)
    assert str(path) in fault(folder)
    if name == EPISODES:
        with pytest.raises(InvalidInput):
            folder.begin(evaluation("sample", REQUEST, episodes=8))
        with pytest.raises(OSError, match=r"."):
            folder.append(of("4-2", 1))


def test_a_folder_without_episodes_has_no_results(folder: RunFolder) -> None:
    (folder.path / EPISODES).unlink()
    assert list(folder.checked_results()) == []
    (folder.path / EPISODES).symlink_to("nowhere")
    assert list(folder.checked_results()) == []


def test_an_unreadable_file_is_reported(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.path / HEADER).unlink()
    (folder.path / HEADER).symlink_to(HEADER)
    assert "cannot be read" in fault(folder)
    (folder.path / HEADER).unlink()
    with pytest.raises(NotFound):
        list(folder.checked_results())


# --- what is too much ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [HEADER, EPISODES])
@pytest.mark.usefixtures("little_memory")
def test_a_huge_line_is_refused_in_little_memory(folder: RunFolder, name: str) -> None:
    os.truncate(folder.path / name, 8 << 30)
    assert "over 64 MB" in fault(folder)


def test_a_huge_line_is_reported_by_number(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder_checks, "LINE_BYTES", 2_000)
    with (folder.path / EPISODES).open("a") as file:
        file.write("x" * 2_000 + "\n")
    assert "Line 3 of" in fault(folder)


# --- what is no header -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "created",
    [
        "",
        "yesterday",
        "2026-11-28",
        "2026-11-28T12:00:00",
        "0001-01-01T00:00:00+00:00",
        "9999-12-31T23:59:59-23:59",
        "9" * 5_000,
        "2026-13-01T0",
    ],
)
def test_a_header_needs_a_time_with_its_zone(folder: RunFolder, created: str) -> None:
    edit_header(folder, lambda document: document.update(created=created))
    assert "time of creation" in fault(folder)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda document: document.pop("created"), "created: Field required"),
        (lambda document: document.update(created=None), "created: "),
        (lambda document: document.update(created=1_700_000_000), "created: "),
        (lambda document: document.update(episodes="8"), "episodes: "),
        (lambda document: document.update(episodes=True), "episodes: "),
        (lambda document: document.update(episodes=-1), "-1 for `episodes`"),
        (lambda document: document["versions"]["executor"].update(parameters=10**30), "`versions.executor.parameters`"),
        (lambda document: document.update(episodes=9), "says 9 episodes, but its request has 8"),
        (lambda document: document.update(id=["sample"]), "id: "),
        (lambda document: document["request"].update(seed=float("nan")), "request.seed: "),
        (lambda document: document["request"].update(repeats=0), "request.repeats: "),
        (lambda document: document["request"].update(protocol=7), "request.protocol: "),
        (lambda document: document.update({"\x1b[31mnew": 1}), "?[31mnew: Extra inputs"),
    ],
)
def test_a_malformed_header_is_reported(folder: RunFolder, edit: Edit, says: str) -> None:
    edit_header(folder, edit)
    assert says in fault(folder)


@pytest.mark.parametrize(
    "name", ["", "../../etc/run", "/tmp/run", ".", "..", "a/b", "a\0b", "run\n", "x" * 300, "läuft"]
)
def test_a_header_needs_an_id_that_can_name_a_file(folder: RunFolder, name: str) -> None:
    edit_header(folder, lambda document: document.update(id=name))
    assert "has the id" in fault(folder)


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"\xff\xfe", b"{", b"[" * 100_000, b'{"id": "\\ud800"}'])
@pytest.mark.parametrize("name", [HEADER, EPISODES])
def test_other_json_values_are_reported(folder: RunFolder, name: str, text: bytes) -> None:
    (folder.path / name).write_bytes(text + b"\n")
    assert "is unreadable" in fault(folder)


def test_an_unplayable_request_is_reported(folder: RunFolder) -> None:
    edit_header(folder, lambda document: document["request"].update(tasks=["4-9"]))
    with pytest.raises(InvalidInput, match="4-9"):
        list(folder.checked_results())


# --- lines that do not belong there ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (of("2-1", 0), "task '2-1', variation 0, repeat 0, which this evaluation does not play"),
        (of("99-9", 0), "task '99-9'"),
        (of("4-2", 7), "variation 7"),
        (of("4-2", 0, repeat=2), "repeat 2"),
        (of("4-2", 1, evaluation="another"), "evaluation 'another' with seed 0, the others of 'sample'"),
        (of("4-2", 1, seed=5), "seed 5"),
        (of("4-2", 0, id="other"), "and so is line 2"),
        (of("2-1", 0, id=of("4-2", 0).id), "task '2-1'"),
    ],
)
def test_a_line_of_another_kind_is_reported(folder: RunFolder, line: EpisodeResult, says: str) -> None:
    folder.append(line)
    message = fault(folder)
    assert "Line 3 of" in message
    assert says in message


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda line: line.update(score="50"), "score: "),
        (lambda line: line.update(score=101), "score: "),
        (lambda line: line.update(moves=True), "moves: "),
        (lambda line: line.update(moves=1.5), "moves: "),
        (lambda line: line.update(moves=-1), "-1 for `moves`"),
        (lambda line: line.update(moves=10**30), "for `moves`"),
        (lambda line: line.update(seconds=float("nan")), "nan for `seconds`"),
        (lambda line: line.update(seconds=float("inf")), "inf for `seconds`"),
        (lambda line: line.update(variation=None), "variation: "),
        (lambda line: line.update(stopped="bored"), "stopped: "),
        (lambda line: line.pop("task"), "task: Field required"),
        (lambda line: line.update(id=7), "id: "),
        (lambda line: line["trajectory"][0].update(logprob=float("-inf")), "-inf for `trajectory.0.logprob`"),
        (lambda line: line["trajectory"][0].update(moves=10**30), "for `trajectory.0.moves`"),
        (lambda line: line.update(trajectory={"0": {}}), "trajectory: "),
        (lambda line: line.update(rules=[{"rule": "stuck", "turns": 10**30}]), "for `rules.0.turns`"),
        (lambda line: line.update(score=-1), "score: "),
        (
            lambda line: line["trajectory"][0].update(actions=[["wait1", float("nan")]]),
            "nan for `trajectory.0.actions.0.logprob`",
        ),
        (
            lambda line: line["trajectory"][0].update(subgoals=[["wait(1)", -0.5], [None, float("-inf")]]),
            "-inf for `trajectory.0.subgoals.1.logprob`",
        ),
        (lambda line: line["trajectory"][0].update(reward=-(10**30)), "for `trajectory.0.reward`"),
    ],
)
def test_an_impossible_value_is_reported(folder: RunFolder, edit: Edit, says: str) -> None:
    edit_last_line(folder, edit)
    message = fault(folder)
    assert "Line 2 of" in message
    assert says in message


def test_a_result_without_its_turns_is_read(folder: RunFolder) -> None:
    folder.append(of("4-2", 1, trajectory=(), opening=None, agent=AgentConfig(repair=False)))
    assert len(list(folder.checked_results())) == 3
