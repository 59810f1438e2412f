"""How a simulator's JVM starts where something is in its way: real JVMs, killed, misled and given damaged caches."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.test_scienceworld_slot import gone, mapped, play
from waymark.cli.local_stack import Stack, StackOptions
from waymark.clients.services import SyncEvaluationClient
from waymark.contracts import EvaluationRequest, Limits
from waymark.errors import EnvironmentFault, SimulatorNotStarted
from waymark.operating_system.process_tree import children
from waymark.worlds.java_process import find_java, java_environment
from waymark.worlds.scienceworld import java_cache
from waymark.worlds.scienceworld.environment import ScienceWorldSlot, slot_jars
from waymark.worlds.scienceworld.java_cache import JavaCache


def jvms(parent: int) -> set[int]:
    """The JVMs that a process has started."""
    processes = set()
    for pid in children(parent):
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"java"):
                processes.add(pid)
    return processes


@contextmanager
def killing(count: int, number: signal.Signals = signal.SIGKILL, parent: int | None = None) -> Iterator[list[int]]:
    """Send a signal to the next `count` JVMs that a process, by default this one, starts, as soon as they are seen."""
    parent = parent or os.getpid()
    known, closing = jvms(parent), threading.Event()
    killed: list[int] = []

    def watch() -> None:
        while len(killed) < count and not closing.wait(0.02):
            for pid in jvms(parent) - known:
                if len(killed) < count:
                    known.add(pid)
                    killed.append(pid)
                    os.kill(pid, number)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield killed
    closing.set()
    watcher.join()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder with a cache as a JVM writes it."""
    java_cache._reported.clear()
    slot = ScienceWorldSlot(cache=tmp_path / "cache")
    play(slot, 200)
    slot.close()
    return tmp_path / "cache"


def written(cache: Path) -> Path:
    """The cache's file."""
    (file,) = cache.glob("*.aot")
    return file


def test_a_jvm_killed_while_it_starts_is_started_again() -> None:
    with killing(2) as killed:
        slot = ScienceWorldSlot()
    assert len(killed) == 2
    assert len(play(slot, 3)) == 3
    slot.close()


def test_a_jvm_that_is_always_killed_is_an_error() -> None:
    before = jvms(os.getpid())
    with killing(100) as killed, pytest.raises(SimulatorNotStarted, match="killed by SIGKILL") as caught:
        ScienceWorldSlot()
    assert caught.value.killed
    assert len(killed) == 4
    assert jvms(os.getpid()) == before


def test_a_jvm_that_hangs_while_it_starts_is_ended() -> None:
    with killing(1, signal.SIGSTOP) as stopped, pytest.raises(SimulatorNotStarted, match="was not ready within 1 s"):
        ScienceWorldSlot(start_seconds=1, pauses=())
    assert gone(stopped[0])


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JAVA_TOOL_OPTIONS", "-XX:+UseG1GC"),
        ("_JAVA_OPTIONS", "-Xmx1m"),
        ("JDK_JAVA_OPTIONS", "--no-such-option"),
        ("JDK_AOT_VM_OPTIONS", "--no-such-option"),
        ("CLASSPATH", "/nowhere"),
        ("LD_PRELOAD", "/nowhere/library.so"),
        ("LD_LIBRARY_PATH", "/nowhere"),
        ("LANG", "de_DE.UTF-8"),
    ],
)
def test_a_users_variables_do_not_reach_java(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    assert variable not in java_environment()
    if variable == "JAVA_TOOL_OPTIONS":
        slot = ScienceWorldSlot()
        assert variable.encode() not in Path(f"/proc/{slot._process.pid}/environ").read_bytes()
        slot.close()


@pytest.mark.parametrize("option", ["-XX:+UseG1GC", "-Xmx1", "--no-such-option"])
def test_the_error_quotes_what_java_said(option: str) -> None:
    messages = {"-XX:+UseG1GC": "Multiple garbage collectors", "-Xmx1": "Too small maximum heap"}
    message = messages.get(option, "Unrecognized option: --no-such-option")
    with pytest.raises(SimulatorNotStarted, match=message) as caught:
        ScienceWorldSlot(options=[option], pauses=())
    assert not caught.value.killed
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1_000


def damaged(content: bytes, how: str) -> bytes:
    """A file's content after a fault of a disk."""
    middle = len(content) // 2
    return {
        "zeros": content[:middle] + bytes(4_096) + content[middle + 4_096 :],
        "bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "truncated": content[:middle],
        "empty": b"",
    }[how]


@pytest.mark.parametrize("how", ["zeros", "bit", "truncated", "empty"])
def test_a_damaged_cache_is_deleted_and_java_starts_without(
    how: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(cache)
    file.write_bytes(damaged(file.read_bytes(), how))
    with caplog.at_level(logging.WARNING):
        slots = [ScienceWorldSlot(cache=cache), ScienceWorldSlot(cache=cache)]
    assert not file.exists()
    for slot in slots:
        assert not mapped(slot)
        assert len(play(slot, 3)) == 3
        slot.close()
    assert [record.message for record in caplog.records if "deleted" in record.message] == [
        f"The simulator's cache {file} was deleted: it is damaged (its checksum differs). The next one is written anew."
    ]


def test_a_cache_that_java_cannot_start_from_is_deleted(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = written(cache)
    content = file.read_bytes()
    # The checksum fits: a cache that was damaged before it was written down.
    cut = 64 * 1024
    file.write_bytes(content[:cut] + bytes(len(content) // 4) + content[cut + len(content) // 4 :])
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_suffix(".sha256").write_text(digest)
    slot = ScienceWorldSlot(cache=cache)
    assert len(play(slot, 3)) == 3
    slot.close()
    assert not file.exists()
    assert "Java does not start from it" in caplog.text


def test_what_is_no_file_is_deleted_without_waiting_for_it(tmp_path: Path) -> None:
    def prepare() -> JavaCache:
        return JavaCache(tmp_path, find_java(), [__file__])

    first = prepare()
    first.close(whole=False)
    (lock,) = tmp_path.glob("*.lock")
    os.mkfifo(lock.with_suffix(".aot"))
    cache = prepare()  # opened, the FIFO would wait for its other end
    assert not cache.reads
    assert not lock.with_suffix(".aot").exists()
    cache.close(whole=False)


def test_a_cache_without_checksum_is_written_anew(cache: Path) -> None:
    written(cache).with_suffix(".sha256").unlink()
    slot = ScienceWorldSlot(cache=cache)
    play(slot, 200)
    slot.close()
    again = ScienceWorldSlot(cache=cache)
    assert mapped(again)
    again.close()


def opened(folder: Path) -> JavaCache:
    """The cache as the next JVM would use it."""
    return JavaCache(folder, find_java(), slot_jars())


def test_a_cache_of_another_user_is_not_used(cache: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("Only root can give a file away.")
    os.chown(written(cache), 12_345, 12_345)
    assert opened(cache).options == ()
    os.chown(written(cache), 0, 0)
    assert opened(cache).reads
    cache.chmod(0o777)
    assert opened(cache).options == ()


def test_a_cache_is_the_users_alone(cache: Path) -> None:
    assert stat.S_IMODE(written(cache).stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["file", "dangling", "proc"])
def test_a_cache_folder_that_cannot_be_used_costs_nothing_else(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    java_cache._reported.clear()
    place = Path("/proc/waymark") if kind == "proc" else tmp_path / "place"
    if kind == "file":
        place.write_text("")
    if kind == "dangling":
        place.symlink_to(tmp_path / "nowhere")
    assert opened(place).options == ()
    assert opened(place).options == ()
    assert [str(place) in record.message for record in caplog.records] == [True]


def test_two_writers_at_once_leave_one_whole_cache(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    assert (first.writes, second.writes) == (True, False)
    stale = [tmp_path / f"{first._file.stem}-1-abc.draft{suffix}" for suffix in ("", ".config")]
    for draft in stale:
        draft.write_bytes(b"left by a worker that was killed")
    first._draft.write_bytes(b"cache")
    first.close(whole=True)
    second.close(whole=True)
    assert opened(tmp_path).reads
    first._file.unlink()
    third = opened(tmp_path)
    assert third.writes
    assert not any(draft.exists() for draft in stale)
    third._draft.with_name(f"{third._draft.name}.config").write_bytes(b"left by Java")
    third.close(whole=False)
    assert not list(tmp_path.glob("*.draft*"))


def test_the_error_of_a_dying_jvm_gives_its_reason() -> None:
    slot = ScienceWorldSlot()
    slot.reset("4-2", 0, "easy")
    os.kill(slot._process.pid, signal.SIGSEGV)
    slot._process.wait(10)
    with pytest.raises(EnvironmentFault, match="SIGSEGV"):
        slot.step("look around")
    slot.close()


def test_a_stack_outlives_jvms_that_are_killed_while_they_start(tmp_path: Path) -> None:
    request = EvaluationRequest(tasks=("4-2",), limits=Limits(moves=5, turns=5))
    options = StackOptions(runs=tmp_path, engine="scripted", slots=1)
    with Stack(options) as stack, SyncEvaluationClient(stack.url("env-runner")) as client:
        worker = stack.pids["worker"]
        with killing(6, parent=worker) as killed:  # four tries at the beginning, then two of the episode's four
            for pid in jvms(worker):
                os.kill(pid, signal.SIGKILL)
            status = client.submit(request)
            deadline = time.monotonic() + 120
            while client.status(status.id).finished < status.episodes and time.monotonic() < deadline:
                stack.check()
                time.sleep(0.2)
        results = client.results(status.id)
    assert len(killed) >= 3
    assert len(results) == status.episodes
