"""One evaluation that cannot be written or read is set aside; all others go on. A real Redis, run folders on disk."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.env_runner.queue import JobStore
from services.env_runner.result_writer import ResultKeeper
from tests.queued import TASKS, on_disk, play, submit
from tests.samples import evaluation, result, result_of
from waymark.errors import RecordDamaged
from waymark.evaluation.run_folder import EPISODES, HEADER, RunFolder

pytestmark = pytest.mark.anyio
Break = Callable[[JobStore, Path], object]


class Clock:
    """A monotonic clock that a test sets forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def key(name: str) -> str:
    return f"waymark:evaluation:{name}"


def overwrite(path: Path, text: str) -> None:
    path.write_text(text)


def remove(folder: Path) -> bool:
    shutil.rmtree(folder)
    return True


def a_folder_instead(path: Path) -> bool:
    path.unlink()
    path.mkdir()
    return True


def a_file_instead(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


def a_loop_instead(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to(path)


def a_pipe_instead(path: Path) -> bool:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return True


def another_evaluation(path: Path) -> None:
    RunFolder(path.parent / "other").begin(evaluation("other"))
    shutil.copy(path.parent / "other" / HEADER, path / HEADER)


def damage_result(store: JobStore, name: str) -> int:
    """One result of A that no version of waymark has written, in all of its records."""
    first = store.entries({name: "0"})[name]
    assert isinstance(first, list)
    episode = first[0].result().id
    store._redis.xadd(f"{key(name)}:events", {"result": "{}"})
    store._redis.hset(f"{key(name)}:results", episode, '{"id": 3}')
    return int(store._redis.hset(f"{key(name)}:trajectories", episode, "no zlib"))


BREAKS: dict[str, Break] = {
    "header_is_no_json": lambda _, runs: overwrite(runs / "a" / HEADER, "{"),
    "header_of_another": lambda _, runs: another_evaluation(runs / "a"),
    "line_is_no_json": lambda _, runs: overwrite(runs / "a" / EPISODES, "{}\n"),
    "folder_is_a_file": lambda _, runs: a_file_instead(runs / "a"),
    "folder_is_a_loop": lambda _, runs: a_loop_instead(runs / "a"),
    "episodes_are_a_pipe": lambda _, runs: a_pipe_instead(runs / "a" / EPISODES),
    "episodes_are_a_folder": lambda _, runs: a_folder_instead(runs / "a" / EPISODES),
    "draft_is_a_pipe_and_header_gone": lambda _, runs: (
        a_pipe_instead((runs / "a" / HEADER).with_suffix(".tmp")),
        a_folder_instead(runs / "a" / HEADER),
    ),
    "header_is_a_pipe": lambda _, runs: a_pipe_instead(runs / "a" / HEADER),
    "all_keys_deleted": lambda store, _: store._redis.delete(*store._redis.keys(f"{key('a')}*")),
    "hash_deleted": lambda store, _: store._redis.delete(key("a")),
    "results_deleted": lambda store, _: store._redis.delete(f"{key('a')}:results", f"{key('a')}:events"),
    "turns_deleted": lambda store, runs: (store._redis.delete(f"{key('a')}:trajectories"), remove(runs / "a")),
    "hash_is_a_text": lambda store, _: (store._redis.delete(key("a")), store._redis.set(key("a"), "x")),
    "events_are_a_text": lambda store, _: store._redis.set(f"{key('a')}:events", "x"),
    "results_are_a_text": lambda store, _: (
        store._redis.set(f"{key('a')}:results", "x"),
        store._redis.delete(f"{key('a')}:events"),
    ),
    "hash_of_another": lambda store, _: store._redis.copy(key("b"), key("a"), replace=True),
    "evaluation_is_no_json": lambda store, _: store._redis.hset(key("a"), "evaluation", "{"),
    "evaluation_is_no_text": lambda store, _: store._bytes.hset(key("a"), "evaluation", b"\xff\xfe"),
    "result_fails_validation": lambda store, runs: (damage_result(store, "a"), remove(runs / "a")),
}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS.keys())
async def test_other_evaluations_are_written_while_one_is_set_aside(
    store: JobStore, tmp_path: Path, broken: Break, restarted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    keeper = ResultKeeper(store, tmp_path, clock=clock)
    submit(store, "a")
    submit(store, "b")
    play(store, 2)
    assert keeper.catch_up() == 2
    broken(store, tmp_path)
    if restarted:
        keeper = ResultKeeper(store, tmp_path, clock=clock)
    while lease := store.lease("worker", wait_seconds=0):
        if lease.spec.evaluation == "b":
            spec = lease.spec
            store.commit(lease, result_of(spec))
    for _ in range(20):
        clock.now += 10
        keeper.catch_up(beat=lambda: None)
    assert on_disk(tmp_path, "b") == len(TASKS)
    [aside] = keeper.set_aside.report()
    assert aside.evaluation == "a"
    assert aside.problem
    assert aside.remedy
    assert aside.since.startswith("20")
    assert sum("set aside" in record.message for record in caplog.records) <= 2  # its cause may change once
    assert [statuse.id for statuse in store.statuses() if statuse.id == "b"] == ["b"]
    assert keeper.unwritten


class SlowClock(Clock):
    """Each look at it takes a while."""

    def __init__(self, seconds: float = 0.1) -> None:
        super().__init__()
        self._seconds = seconds

    def __call__(self) -> float:
        self.now += self._seconds
        return self.now


async def test_a_long_backlog_delays_no_other_evaluation(store: JobStore, tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    for name in names:
        submit(store, name)
    play(store, len(names) * len(TASKS))
    keeper = ResultKeeper(store, tmp_path, clock=SlowClock())
    written, calls = keeper.catch_up(), 1
    assert 0 < written < len(names) * len(TASKS)
    assert keeper.behind
    while keeper.behind:
        written, calls = written + keeper.catch_up(), calls + 1
        assert calls < 100
    assert written == len(names) * len(TASKS)
    assert [on_disk(tmp_path, name) for name in names] == [len(TASKS)] * len(names)


async def test_evaluations_with_backlogs_take_turns(store: JobStore, tmp_path: Path) -> None:
    names = ("a", "b", "c")
    for name in names:
        submit(store, name)
    play(store, len(names) * len(TASKS))
    clock = SlowClock(0.4)
    keeper = ResultKeeper(store, tmp_path, clock=clock)
    for _ in range(len(names)):
        keeper.catch_up()
    assert all(on_disk(tmp_path, name) for name in names)
    assert keeper.behind


async def test_a_backlog_is_written_whole_at_the_end(store: JobStore, tmp_path: Path) -> None:
    submit(store, "a")
    play(store, len(TASKS))
    keeper = ResultKeeper(store, tmp_path, clock=SlowClock())
    assert keeper.catch_up(final=True) == len(TASKS)
    assert not keeper.behind


@pytest.mark.parametrize("value", ["9" * 400, "-" + "9" * 400, "9" * 5_000, "nan", "1e9", "-1", "4_000"])
@pytest.mark.parametrize("counter", ["finished", "errored", "score_sum"])
async def test_a_damaged_counter_hides_no_other_evaluation(store: JobStore, counter: str, value: str) -> None:
    submit(store, "a")
    submit(store, "b")
    store._redis.hset(key("a"), mapping={"finished": 1, "score_sum": 1, counter: value})
    assert [statuse.id for statuse in store.statuses()] == ["b"], "a status whose figures cannot be is no status"
    with pytest.raises(RecordDamaged, match=counter):
        store.status("a")
    reported: dict[str, Exception] = {}
    store.reconcile(reported.__setitem__)
    assert list(reported) == ["a"]


@pytest.mark.parametrize("damage", ["[" * 100_000, "[]", "{", '"x"', "9" * 5_000])
@pytest.mark.parametrize("whose", ["shared", "own"])
async def test_specs_that_cannot_be_read_stop_no_worker(store: JobStore, whose: str, damage: str) -> None:
    submit(store, "a")
    submit(store, "b")
    if whose == "shared":
        store._redis.hset(key("a"), "shared", damage)
    else:
        store._redis.hset(f"{key('a')}:specs", mapping={spec.id: damage for spec in store.specs("a")})
    with pytest.raises(RecordDamaged):
        store.specs("a")
    while lease := store.lease("worker", wait_seconds=0.3):
        spec = lease.spec
        assert spec.evaluation == "b"
        store.commit(lease, result(spec.id, evaluation="b", task=spec.task, variation=spec.variation))
    assert store.status("b").state == "finished"


@pytest.mark.parametrize("damaged", ["specs", "manifest"])
@pytest.mark.parametrize("kind", ["deleted", "text"])
async def test_an_unplayable_evaluation_is_reported_and_others_play(store: JobStore, damaged: str, kind: str) -> None:
    submit(store, "a")
    submit(store, "b")
    store._redis.delete(f"{key('a')}:{damaged}", f"{key('a')}:queue")
    if kind == "text":
        store._redis.set(f"{key('a')}:{damaged}", "x")
    reported: dict[str, Exception] = {}
    store.reconcile(reported.__setitem__)
    assert list(reported) == ["a"]
    played = play(store, len(TASKS))
    assert {episode.evaluation for episode in played} == {"b"}
    assert store.status("b").state == "finished"


async def test_an_unreadable_spec_stops_no_other_evaluation(store: JobStore) -> None:
    submit(store, "a")
    submit(store, "b")
    first = store.specs("a")[0].id
    store._redis.hset(f"{key('a')}:specs", first, "{}")
    while lease := store.lease("worker", wait_seconds=0.3):
        spec = lease.spec
        store.commit(lease, result_of(spec))
    reported: dict[str, Exception] = {}
    store.reconcile(reported.__setitem__)
    assert list(reported) == ["a"]
    assert store.status("a").finished == len(TASKS) - 1
    assert store.status("b").state == "finished"


async def test_a_result_is_stored_whole_or_not_at_all(store: JobStore) -> None:
    submit(store, "a")
    lease = store.lease("worker", wait_seconds=0)
    assert lease is not None
    store._redis.set(f"{key('a')}:events", "x")
    spec = lease.spec
    with pytest.raises(Exception, match="wrong type"):
        store.commit(lease, result_of(spec))
    assert store.status("a").finished == 0
    store._redis.delete(f"{key('a')}:events")
    assert store.commit(lease, result_of(spec))


@pytest.mark.parametrize(
    "harm",
    [
        shutil.rmtree,
        lambda folder: (folder / EPISODES).unlink(),
        lambda folder: (folder / HEADER).unlink(),
        lambda folder: (folder / EPISODES).write_text(""),
        lambda folder: os.truncate(folder / EPISODES, 100),
    ],
    ids=["folder", "episodes", "header", "emptied", "cut"],
)
async def test_a_folder_that_is_deleted_is_made_anew(
    store: JobStore, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    keeper = ResultKeeper(store, tmp_path)
    submit(store, "a")
    first = play(store, 2)
    keeper.catch_up()
    harm(tmp_path / "a")
    rest = play(store, 1)
    keeper.catch_up()
    assert sorted(result.id for result in RunFolder(tmp_path / "a").results()) == sorted(
        episode.id for episode in first + rest
    )
    assert RunFolder(tmp_path / "a").evaluation() == store.evaluation("a")
    assert not keeper.set_aside.report()


async def test_the_deleted_folder_of_a_finished_evaluation_is_written_again(store: JobStore, tmp_path: Path) -> None:
    keeper = ResultKeeper(store, tmp_path)
    submit(store, "a")
    played = play(store, len(TASKS))
    keeper.catch_up()
    shutil.rmtree(tmp_path / "a")
    assert keeper.catch_up() == 0
    assert keeper.catch_up(final=True) == len(TASKS)
    assert list(RunFolder(tmp_path / "a").results()) == played


async def test_an_evaluation_is_completed_when_its_folder_comes_back(store: JobStore, tmp_path: Path) -> None:
    clock = Clock()
    keeper = ResultKeeper(store, tmp_path, clock=clock)
    submit(store, "a")
    play(store, 1)
    (tmp_path / "a").write_text("in the way")
    keeper.catch_up()
    assert keeper.set_aside.report()
    (tmp_path / "a").unlink()
    keeper.catch_up()
    assert keeper.set_aside.report(), "it is tried again after a pause"
    clock.now += 1
    assert keeper.catch_up() == 1
    assert not keeper.set_aside.report()


async def test_a_torn_line_is_cut_when_there_is_room_again(store: JobStore, tmp_path: Path) -> None:
    clock = Clock()
    keeper = ResultKeeper(store, tmp_path, clock=clock)
    submit(store, "a")
    play(store, 1)
    keeper.catch_up()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "a" / EPISODES).stat().st_size + 10, before[1]))
    try:
        play(store, 2)
        keeper.catch_up()
        [aside] = keeper.set_aside.report()
        assert "ulimit -f" in aside.remedy
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert on_disk(tmp_path, "a") == 1
    clock.now += 60
    keeper.catch_up()
    assert on_disk(tmp_path, "a") == 3


async def test_lost_events_are_written_from_the_results(store: JobStore, tmp_path: Path) -> None:
    clock = Clock()
    keeper = ResultKeeper(store, tmp_path, clock=clock)
    submit(store, "a")
    play(store, 2)
    store._redis.delete(f"{key('a')}:events")
    keeper.catch_up()
    clock.now += 60
    keeper.catch_up()
    assert on_disk(tmp_path, "a") == 2
