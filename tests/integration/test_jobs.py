"""The job store against a real Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.env_runner.queue import MAX_DELIVERIES, WAITING_SECONDS, JobStore, Lease
from tests.samples import evaluation, result_of
from waymark.contracts import (
    AgentConfig,
    CheckpointMismatch,
    EpisodeError,
    EpisodeSpec,
    EvaluationRequest,
    MadeBy,
)
from waymark.errors import JobStoreUnavailable, NotFound, RecordDamaged, WrongCheckpoint
from waymark.evaluation.requested_episodes import episodes
from waymark.worlds.scienceworld.tasks import TASKS

LEASE_SECONDS = 0.5


def submit(store: JobStore, name: str, *, tasks: tuple[str, ...] = ("1-1", "4-1", "4-2")) -> list[EpisodeSpec]:
    request = EvaluationRequest(tasks=tasks)
    specs = episodes(name, request)
    store.submit(evaluation(name, request, episodes=len(specs)), specs)
    return specs


def lease(store: JobStore, consumer: str = "alice") -> Lease:
    taken = store.lease(consumer, wait_seconds=0.01)
    assert taken is not None
    return taken


def abandon() -> None:
    time.sleep(LEASE_SECONDS * 1.5)


def test_episodes_are_leased_in_the_order_of_the_manifest(store: JobStore) -> None:
    specs = submit(store, "order")
    assert [lease(store).spec for _ in specs] == specs
    assert store.lease("alice", wait_seconds=0.01) is None


def test_enqueueing_again_adds_nothing(store: JobStore) -> None:
    submit(store, "again")
    lease(store)
    assert store.enqueue("again") == 0


def test_a_result_is_counted_and_served(store: JobStore) -> None:
    specs = submit(store, "count")
    first, second = lease(store), lease(store)
    assert store.commit(first, result_of(first.spec, score=100))
    fault = EpisodeError(kind="EnvironmentFault", message="x")
    assert store.commit(second, result_of(second.spec, score=0, error=fault))
    status = store.status("count")
    assert (status.state, status.episodes, status.finished, status.errored) == ("running", 3, 2, 1)
    assert status.mean_score == 50
    assert [result.id for result in store.results("count")] == [spec.id for spec in specs[:2]]
    assert store.episode("count", specs[0].id) == result_of(specs[0], score=100)
    assert [event.result.id for event in store.events({"count": "0"})] == [spec.id for spec in specs[:2]]


def test_the_last_result_finishes_the_evaluation(store: JobStore) -> None:
    submit(store, "last", tasks=("1-1",))
    assert store.status("last").state == "queued"
    held = lease(store)
    assert (store.status("last").state, store.status("last").running) == ("running", 1)
    store.commit(held, result_of(held.spec))
    assert store.status("last").state == "finished"


def test_the_old_holder_of_a_claimed_lease_cannot_commit(store: JobStore) -> None:
    submit(store, "abandoned", tasks=("1-1",))
    old = lease(store, "alice")
    abandon()
    new = lease(store, "bob")
    assert (new.spec, new.deliveries) == (old.spec, 2)
    assert not store.renew(old)
    assert not store.commit(old, result_of(old.spec, score=10))
    assert store.commit(new, result_of(new.spec, score=20))
    status = store.status("abandoned")
    assert (status.finished, status.mean_score) == (1, 20)


def test_a_worker_cannot_commit_through_a_lease_it_lost(store: JobStore) -> None:
    submit(store, "itself", tasks=("1-1",))
    old = lease(store)
    abandon()
    new = lease(store)
    assert not store.commit(old, result_of(old.spec))
    assert store.commit(new, result_of(new.spec))


def test_two_commits_of_one_episode_count_once(store: JobStore) -> None:
    submit(store, "twice", tasks=("1-1",))
    held = lease(store)
    assert store.commit(held, result_of(held.spec, score=70))
    assert not store.commit(held, result_of(held.spec, score=90))
    status = store.status("twice")
    assert (status.finished, status.mean_score) == (1, 70)


def test_a_renewed_lease_is_not_abandoned(store: JobStore) -> None:
    submit(store, "renewed", tasks=("1-1",))
    held = lease(store, "alice")
    for _ in range(3):
        time.sleep(LEASE_SECONDS / 2)
        assert store.renew(held)
        assert store.lease("bob", wait_seconds=0.001) is None


def test_a_released_episode_is_leased_at_once(store: JobStore) -> None:
    submit(store, "released", tasks=("1-1",))
    store.release(lease(store, "alice"), counted=False)
    again = lease(store, "bob")
    assert again.deliveries == 1
    store.release(again, counted=True)
    assert lease(store, "carol").deliveries == 2


def test_an_episode_given_up_too_often_is_dead_but_reported(store: JobStore) -> None:
    (spec,) = submit(store, "dead", tasks=("1-1",))
    for _ in range(MAX_DELIVERIES):
        held = lease(store)
        assert not held.exhausted
        store.release(held, counted=True)
    exhausted = lease(store)
    assert exhausted.exhausted
    store.bury(exhausted, result_of(spec, score=0, error=EpisodeError(kind="EpisodeAbandoned", message="x")))
    assert store.dead() == [spec]
    status = store.status("dead")
    assert (status.state, status.errored) == ("finished", 1)


def test_cancelling_empties_the_queue_and_takes_the_leases(store: JobStore) -> None:
    specs = submit(store, "cancelled")
    held = lease(store)
    store.cancel("cancelled")
    assert not store.renew(held)
    assert not store.commit(held, result_of(held.spec))
    assert store.lease("bob", wait_seconds=0.01) is None
    assert store.status("cancelled").state == "cancelled"
    assert store.reconcile() == 0
    assert store.resume("cancelled") == len(specs)
    assert lease(store).spec == specs[0]


def test_a_lost_stream_is_recovered_from_the_manifest(store: JobStore, redis_url: str) -> None:
    specs = submit(store, "lost")
    held = lease(store)
    store.commit(held, result_of(held.spec))
    store._redis.delete("waymark:evaluation:lost:queue")
    assert store.lease("alice", wait_seconds=0.01) is None
    assert store.reconcile() == len(specs) - 1
    assert [lease(store).spec for _ in specs[1:]] == specs[1:]


def test_evaluations_take_turns(store: JobStore) -> None:
    first, second = submit(store, "long"), submit(store, "short", tasks=("1-1",))
    leased = [lease(store).spec for _ in range(len(first) + len(second))]
    assert [spec.evaluation for spec in leased] == ["long", "short", "long", "long"]


def test_a_second_submission_under_a_key_is_the_first(store: JobStore) -> None:
    request = EvaluationRequest(tasks=("1-1",))
    for name in ("keyed", "keyed-again"):
        specs = episodes(name, request)
        assert store.submit(evaluation(name, request, episodes=1), specs, key="paper-table-2") == "keyed"
    assert store.submitted("paper-table-2") == "keyed"
    with pytest.raises(NotFound):
        store.status("keyed-again")
    assert lease(store).spec.evaluation == "keyed"
    assert store.lease("alice", wait_seconds=0) is None


def test_only_errored_episodes_are_queued_again(store: JobStore) -> None:
    submit(store, "errored")
    good, bad, _waiting = lease(store), lease(store), lease(store)
    store.commit(good, result_of(good.spec, score=80))
    store.commit(bad, result_of(bad.spec, score=0, error=EpisodeError(kind="EnvironmentFault", message="x")))
    assert store.resume("errored", errored=True) == 1
    status = store.status("errored")
    assert (status.finished, status.errored, status.mean_score) == (1, 0, 80)
    again = lease(store, "bob")
    assert again.spec == bad.spec
    store.commit(again, result_of(again.spec, score=40))
    assert store.status("errored").mean_score == 60
    assert [event.result.score for event in store.events({"errored": "0"})] == [80, 40]
    assert store.episode("errored", bad.spec.id).score == 40


def test_an_abandoned_episode_is_found_behind_many_that_are_played(store: JobStore) -> None:
    submit(store, "many", tasks=tuple(task.id for task in TASKS))
    held = [lease(store, f"worker-{number}") for number in range(25)]
    abandon()
    for held_lease in held[:-1]:
        assert store.renew(held_lease)
    assert lease(store, "another").spec == held[-1].spec


def test_an_unknown_evaluation_is_not_found(store: JobStore) -> None:
    with pytest.raises(NotFound, match="nobody"):
        store.status("nobody")


def test_an_absent_redis_is_named_without_its_password(tmp_path: Path) -> None:
    store = JobStore("redis://:secret@127.0.0.1:1/0")
    with pytest.raises(JobStoreUnavailable, match=r"127\.0\.0\.1:1") as caught:
        store.ping()
    assert "secret" not in str(caught.value)


@pytest.fixture
def clocks(redis_url: str) -> Iterator[tuple[JobStore, JobStore, list[float]]]:
    """Two workers' stores with leases of half a minute, on one monotonic clock that a test sets forward."""
    now = [0.0]
    mine, other = (JobStore(redis_url, lease_seconds=30, clock=lambda: now[0]) for _ in range(2))
    yield mine, other, now
    for status in mine.statuses():
        mine.cancel(status.id)
    mine.close()
    other.close()


def shift(store: JobStore, evaluation: str, milliseconds: int) -> None:
    """Make Redis believe that its leases were given so much earlier or later, as a step of its clock does."""
    queue = f"waymark:evaluation:{evaluation}:queue"
    for pending in store._redis.xpending_range(queue, "workers", "-", "+", 100):
        idle = max(0, pending["time_since_delivered"] + milliseconds)
        consumer, entry = pending["consumer"], pending["message_id"]
        store._redis.xclaim(queue, "workers", consumer, 0, [entry], idle=idle, justid=True)


def set_back(store: JobStore, evaluation: str) -> None:
    """As if the clock of Redis had been set back an hour: its leases were given in the future."""
    queue = f"waymark:evaluation:{evaluation}:queue"
    future = int(time.time() * 1000) + 3_600_000
    for pending in store._redis.xpending_range(queue, "workers", "-", "+", 100):
        consumer, entry = pending["consumer"], pending["message_id"]
        store._redis.execute_command("XCLAIM", queue, "workers", consumer, 0, entry, "TIME", future, "JUSTID")


def test_a_silent_worker_loses_its_lease_by_the_watchers_clock(
    clocks: tuple[JobStore, JobStore, list[float]],
) -> None:
    mine, other, now = clocks
    submit(mine, "silent", tasks=("1-1",))
    held = lease(mine)
    assert other.lease("bob", wait_seconds=0) is None
    set_back(mine, "silent")
    now[0] += 31
    taken = other.lease("bob", wait_seconds=0)
    assert taken is not None
    assert (taken.spec, taken.deliveries) == (held.spec, 2)
    assert not mine.renew(held)


def test_a_clock_set_forward_takes_no_lease_from_the_living(
    clocks: tuple[JobStore, JobStore, list[float]],
) -> None:
    mine, other, now = clocks
    submit(mine, "forward")
    held = [lease(mine) for _ in range(3)]
    for _ in range(5):
        assert other.lease("bob", wait_seconds=0) is None
        shift(mine, "forward", 3_600_000)
        now[0] += 20
        assert all(mine.renew(held_lease) for held_lease in held)


def test_a_lease_renewed_after_it_was_seen_silent_is_kept(clocks: tuple[JobStore, JobStore, list[float]]) -> None:
    mine, other, now = clocks
    submit(mine, "late", tasks=("1-1",))
    held = lease(mine)
    other.look()
    now[0] += 31
    other.look()
    assert other._silent
    assert mine.renew(held)
    assert other.lease("bob", wait_seconds=0) is None


def test_two_watchers_take_a_silent_lease_once(clocks: tuple[JobStore, JobStore, list[float]]) -> None:
    mine, other, now = clocks
    submit(mine, "both", tasks=("1-1",))
    lease(mine)
    other.look()
    now[0] += 31
    taken = [store.lease("bob", wait_seconds=0) for store in (mine, other)]
    assert [held_lease is not None for held_lease in taken] == [True, False]


def test_an_entry_missing_from_the_queue_blocks_no_other(store: JobStore) -> None:
    specs = submit(store, "gone", tasks=("1-1", "4-2"))
    held = lease(store)
    store._redis.xdel("waymark:evaluation:gone:queue", held.entry)
    abandon()
    assert lease(store, "bob").spec == specs[1]


def test_an_evaluation_to_skip_is_left_to_others(store: JobStore) -> None:
    submit(store, "refused", tasks=("1-1",))
    (other,) = submit(store, "mine", tasks=("1-1",))
    leases = [store.lease("alice", wait_seconds=0, skip=["refused"]) for _ in range(3)]
    assert [held_lease.spec if held_lease else None for held_lease in leases] == [other, None, None]
    assert (lease(store, "bob").spec.evaluation, store.status("refused").running) == ("refused", 1)


@pytest.mark.parametrize(
    "foreign", [MadeBy(executor="b" * 12), MadeBy(controller="c" * 12), MadeBy(first=""), MadeBy(first="f" * 12)]
)
def test_a_result_of_another_checkpoint_is_never_stored(store: JobStore, foreign: MadeBy) -> None:
    name = f"foreign-{foreign}"
    submit(store, name, tasks=("1-1",))
    held = lease(store)
    with pytest.raises(WrongCheckpoint, match="submitted for others"):
        store.commit(held, result_of(held.spec).model_copy(update={"checkpoints": foreign}))
    assert (store.status(name).finished, store.results(name), store.renew(held)) == (0, [], True)
    ours = result_of(held.spec).model_copy(update={"checkpoints": MadeBy(controller="", executor="")})
    assert store.commit(held, ours)
    assert store.results(name) == [ours]


def test_an_evaluation_of_an_older_version_is_played_and_read(store: JobStore) -> None:
    specs = submit(store, "older")
    keys = "waymark:evaluation:older"
    store._redis.hdel(keys, "shared")
    store._redis.hset(f"{keys}:specs", mapping={spec.id: spec.model_dump_json() for spec in specs})
    assert store.specs("older") == specs
    held = lease(store)
    assert held.spec == specs[0]
    assert store.commit(held, result_of(held.spec))
    assert store.specs("older", first=1, count=1) == specs[1:2]


def test_a_worker_that_waits_is_reported_until_it_does_not(store: JobStore) -> None:
    submit(store, "waiting")
    mismatch = CheckpointMismatch(what="executor", expected="a", found="b", worker="w", since="now")
    store.report_waiting("waiting", mismatch)
    assert store.status("waiting").waiting == mismatch
    assert 0 < store._redis.ttl("waymark:evaluation:waiting:waiting") <= WAITING_SECONDS
    store.report_waiting("waiting", None)
    assert store.status("waiting").waiting is None


def test_long_common_fields_are_stored_once(store: JobStore) -> None:
    request = EvaluationRequest(protocol="full", agent=AgentConfig(executor_model="x" * 100))
    specs = episodes("full", request)
    store.submit(evaluation("full", request, episodes=len(specs)), specs)
    texts = [text for _, text in store._redis.hscan_iter("waymark:evaluation:full:specs")]
    assert len(texts) == 1_819
    assert sum(map(len, texts)) < 60 * len(texts)
    assert store.specs("full", count=2) == specs[:2]


def test_a_stored_evaluation_over_todays_limits_stops_no_other(store: JobStore) -> None:
    submit(store, "hostile", tasks=("1-1",))
    (spec,) = submit(store, "honest", tasks=("1-1",))
    old = evaluation("hostile").model_dump(mode="json")
    old["request"]["simplifications"] = "x" * 400_000
    store._redis.hset("waymark:evaluation:hostile", "evaluation", json.dumps(old))
    assert [statuse.id for statuse in store.statuses(["hostile", "honest"])] == ["honest"]
    problem = store.look_up(["hostile"])["hostile"]
    assert isinstance(problem, RecordDamaged)
    assert len(str(problem)) < 1_000
    with pytest.raises(RecordDamaged, match="cannot be read"):
        store.evaluation("hostile")
    assert store.lease("alice", wait_seconds=0, skip=["hostile"]) is not None
    store.cancel("honest")
    store._redis.delete("waymark:active", "waymark:evaluation:hostile:queue")
    assert spec.id
