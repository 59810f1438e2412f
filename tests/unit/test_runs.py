import resource
from pathlib import Path

import pytest

from tests.samples import evaluation, result
from waymark.contracts import Opening, TurnRecord
from waymark.errors import InvalidInput, NotFound
from waymark.evaluation.run_folder import EPISODES, RunFolder


def begun(path: Path, *episodes: str) -> RunFolder:
    """A run folder with these finished episodes."""
    folder = RunFolder(path)
    folder.begin(evaluation())
    for episode in episodes:
        folder.append(result(episode))
    return folder


def test_appended_results_are_read_back(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    folder.append(result("a"))
    folder.append(result("b"))
    assert folder.evaluation() == evaluation()
    assert list(folder.results()) == [result("a"), result("b")]


def test_a_torn_line_is_removed_before_the_next_write(tmp_path: Path) -> None:
    folder = begun(tmp_path, "a")
    with (tmp_path / EPISODES).open("a") as file:
        file.write('{"id": "b", "sco')
    assert list(folder.results()) == [result("a")]
    folder.begin(evaluation())
    folder.append(result("c"))
    assert list(folder.results()) == [result("a"), result("c")]


@pytest.mark.parametrize("end", [b"\x1f\x8b\x08\x00" + bytes(300), b"not ours", b"[1", b"\xff\xfe{"])
def test_an_end_that_is_no_torn_line_is_refused(tmp_path: Path, end: bytes) -> None:
    folder = begun(tmp_path, "a")
    with (tmp_path / EPISODES).open("ab") as file:
        file.write(end)
    before = (tmp_path / EPISODES).read_bytes()
    for use in (lambda: list(folder.results()), folder.lights, lambda: folder.begin(evaluation())):
        with pytest.raises(InvalidInput, match="no result"):
            use()
    assert (tmp_path / EPISODES).read_bytes() == before


def test_zeros_at_the_end_are_a_torn_line(tmp_path: Path) -> None:
    folder = begun(tmp_path, "a")
    with (tmp_path / EPISODES).open("ab") as file:
        file.write(bytes(5_000))
    assert list(folder.results()) == [result("a")]
    folder.begin(evaluation())
    folder.append(result("b"))
    assert list(folder.results()) == [result("a"), result("b")]


def test_the_last_result_of_a_replayed_episode_counts(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    for played_result in (result("a", score=0), result("b"), result("a", score=100)):
        folder.append(played_result)
    assert list(folder.results()) == [result("b"), result("a", score=100)]


def test_a_line_that_could_not_be_written_is_removed(tmp_path: Path) -> None:
    folder = begun(tmp_path, "a")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = (tmp_path / EPISODES).stat().st_size + 10
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            folder.append(result("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    folder.append(result("c"))
    assert list(folder.results()) == [result("a"), result("c")]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    folder = begun(tmp_path, "a")
    with (tmp_path / EPISODES).open("a") as file:
        file.write("{}\n")
    with pytest.raises(InvalidInput, match="Line 2 of "):
        list(folder.results())


def test_a_folder_without_a_header_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"evaluation\.json"):
        RunFolder(tmp_path).evaluation()


def test_light_results_are_the_whole_ones_without_their_turns(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    text = 'a quote ","trajectory":[ and \\" more'
    turn = TurnRecord(
        turn=1, subgoal=text, controller_called=True, action="wait1", proposed=text, logprob=-1.0, observation=text
    )
    opening = Opening(task=text, look=text, inventory=text)
    played = result("a").model_copy(update={"trajectory": (turn, turn), "opening": opening})
    for played_result in (played, result("b"), played.model_copy(update={"score": 100})):
        folder.append(played_result)
    assert folder.lights() == [played_result.without_trajectory() for played_result in folder.results()]
    assert folder.result("a") == list(folder.results())[1]
    assert folder.result("none") is None


def test_damage_before_the_turns_is_named_by_light_results(tmp_path: Path) -> None:
    folder = begun(tmp_path, "a")
    with (tmp_path / EPISODES).open("a") as file:
        file.write('{"id":"b","score":1000,"trajectory":[]}\n')
    with pytest.raises(InvalidInput, match="Line 2 of "):
        folder.lights()
