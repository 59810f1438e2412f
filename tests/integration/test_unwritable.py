"""`waymark evaluate` where results cannot be written: told at once, nothing lost, and recovered by one command."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.commands import SCRIPTED, Command
from tests.integration.faults import until
from tests.integration.test_up_down_status import start
from waymark.child_processes.child_process import HOST
from waymark.cli.embedded_redis import EmbeddedRedis, ask, has_data
from waymark.evaluation.run_folder import EPISODES, HEADER, RunFolder

Waymark = Callable[..., Command]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")
SECONDS = 60


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 8 MB, mounted where a command has its runs."""
    runs = tmp_path / "runs"
    runs.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(runs)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a file system can be mounted by root alone: {mounted.stderr.strip()}")
    yield runs
    subprocess.run(["umount", "-l", str(runs)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk."""
    file = disk / "filler"
    with file.open("wb", buffering=0) as filler:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    filler.write(b"\0" * size)
            except OSError:
                continue
    return file


def recovery(err: str) -> list[str]:
    """The arguments of the command that recovers results, as it was printed."""
    [line] = [line for line in err.splitlines() if line.strip().startswith("waymark recover")]
    return line.split()[1:]


def finished_lines(err: str) -> int:
    return sum(1 for line in err.splitlines() if "/1819 " in line)


def test_a_full_disk_is_named_before_anything_starts(small_disk: Path, waymark: Waymark) -> None:
    fill(small_disk)
    began = time.monotonic()
    command = waymark("evaluate", *SCRIPTED, "--tasks", "4-2")
    code, _, err = command.wait()
    assert time.monotonic() - began < SECONDS
    assert code == 3
    assert "No space left on device" in err
    assert "Free space" in err
    assert "Traceback" not in err
    assert command.parts() == {}
    assert {path.name for path in small_disk.iterdir()} == {"filler"}


def test_a_file_size_limit_is_named_before_anything_starts(waymark: Waymark, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        command = waymark("evaluate", *SCRIPTED, "--tasks", "4-2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    code, _, err = command.wait()
    assert code == 3
    assert "ulimit -f" in err


def test_a_disk_that_fills_up_in_play_loses_nothing(small_disk: Path, waymark: Waymark) -> None:
    command = waymark("evaluate", *SCRIPTED, "--protocol", "full")
    command.read_until("5/1819")
    filler = fill(small_disk)
    code, _, err = command.wait()
    assert code == 4, err
    assert "No space left on device" in err
    assert "Traceback" not in err
    assert command.parts() == {}
    finished = 5 + finished_lines(err)
    filler.unlink()
    if "waymark recover" in err:  # else Redis took nothing more, so that nothing is missing
        recovered = waymark(*recovery(err))
        code, _, err = recovered.wait()
        assert code == 0, err
        assert recovered.parts() == {}
    assert len(list(command.run.results())) >= finished
    assert not list(small_disk.glob("*/redis"))


def test_data_that_a_full_disk_refuses_are_kept_elsewhere(small_disk: Path) -> None:
    redis = EmbeddedRedis(small_disk).start()
    address = Path(redis.url.removeprefix("unix://"))
    try:
        assert ask(address, "SET", "before", "x" * 100) == b"OK"
        assert redis.keep_data() == small_disk
        fill(small_disk)
        assert ask(address, "SET", "accepted", "y" * 100_000) == b"OK"
        assert ask(address, "SET", "refused", "z").startswith(b"MISCONF")
        kept = redis.keep_data()
    finally:
        redis.stop()
    assert kept != small_disk
    assert has_data(kept)
    with EmbeddedRedis(kept) as again:
        address = Path(again.url.removeprefix("unix://"))
        assert ask(address, "GET", "accepted") == b"y" * 100_000
        assert ask(address, "GET", "before") == b"x" * 100
    shutil.rmtree(kept)


def test_a_file_size_limit_in_play_loses_nothing(waymark: Waymark, tmp_path: Path) -> None:
    command = waymark("evaluate", *SCRIPTED, "--protocol", "full")
    command.read_until("5/1819")
    [runner] = [pid for pid, line in command.parts().items() if line.rstrip().endswith("services.env_runner")]
    episodes = next((tmp_path / "runs").glob(f"*/{EPISODES}"))
    resource.prlimit(runner, resource.RLIMIT_FSIZE, (episodes.stat().st_size + 100, resource.RLIM_INFINITY))
    code, _, err = command.wait()
    assert code == 4, err
    assert "ulimit -f" in err
    finished = 5 + finished_lines(err)
    code, _, err = waymark(*recovery(err)).wait()
    assert code == 0, err
    assert len(list(command.run.results())) >= finished


def test_a_redis_killed_by_a_file_size_limit_loses_nothing(waymark: Waymark, tmp_path: Path) -> None:
    command = waymark("evaluate", *SCRIPTED, "--protocol", "full")
    command.read_until("5/1819")
    [redis] = [pid for pid, line in command.parts().items() if "valkey-server" in line]
    log = next((tmp_path / "runs").glob("stack-*/redis/appendonlydir/*.incr.aof"))
    resource.prlimit(redis, resource.RLIMIT_FSIZE, (log.stat().st_size + 100, resource.RLIM_INFINITY))
    code, _, err = command.wait()
    assert code == 4, err
    assert "Traceback" not in err
    finished = 5 + finished_lines(err)
    code, _, err = waymark(*recovery(err)).wait()
    assert code == 0, err
    assert len(list(command.run.results())) >= finished


def two_agents(waymark: Waymark) -> Command:
    return waymark("evaluate", *SCRIPTED, "--agent", "hierarchical,flat", "--protocol", "full", "--slots", "2")


def finished(command: Command, evaluation: str) -> int:
    """How many of its episodes are finished, written or not, as its env-runner answers."""
    [process] = [number for number, line in command.parts().items() if line.strip().endswith("services.env_runner")]
    environment = Path(f"/proc/{process}/environ").read_text().split("\0")
    [port] = [word.removeprefix("WAYMARK_PORT=") for word in environment if word.startswith("WAYMARK_PORT=")]
    answer = httpx.get(f"http://{HOST}:{port}/v1/evaluations/{evaluation}", trust_env=False, timeout=30)
    count: int = answer.raise_for_status().json()["finished"]
    return count


def folders(command: Command) -> list[Path]:
    return sorted(path.parent for path in (command.folder / "runs").glob(f"*/{HEADER}"))


def test_a_folder_deleted_in_play_is_made_anew(waymark: Waymark) -> None:
    command = two_agents(waymark)
    command.read_until("6/3638")
    first, second = folders(command)
    before = {path: {result.id for result in RunFolder(path).results()} for path in (first, second)}
    shutil.rmtree(first)
    command.read_until("30/3638")
    command.process.send_signal(signal.SIGINT)
    code, _, err = command.wait()
    assert code == 130
    assert "waymark recover" not in err
    for path in (first, second):
        after = {result.id for result in RunFolder(path).results()}
        assert len(after) > len(before[path])
        assert before[path] <= after
        assert str(path) in err


def test_an_unwritable_folder_is_reported_and_recovered_later(waymark: Waymark) -> None:
    command = two_agents(waymark)
    command.read_until("6/3638")
    first, second = folders(command)
    before = len(list(RunFolder(first).results()))
    shutil.rmtree(first)
    first.write_text("in the way")
    command.read_until(f"Results of {first.name} wait to be written")
    written = len(list(RunFolder(second).results()))
    until(lambda: len(list(RunFolder(second).results())) > written, "the other evaluation is written")
    until(lambda: finished(command, first.name) > before, "the first evaluation has one more result")
    command.process.send_signal(signal.SIGINT)
    code, _, err = command.wait()
    assert code == 130
    assert "Traceback" not in err
    arguments = recovery(err)
    assert Path(arguments[1]).exists()
    failed = waymark(*arguments).wait()
    assert failed[0] == 3
    assert "move it away" in failed[2]
    assert Path(arguments[1]).exists()
    first.unlink()
    code, _, err = waymark(*arguments).wait()
    assert code == 0, err
    assert len(list(RunFolder(first).results())) > before
    assert not Path(arguments[1]).exists()


def test_results_of_up_that_are_not_on_disk_are_named_at_its_end(waymark: Waymark, tmp_path: Path) -> None:
    stack, url = start(waymark)
    play = waymark("evaluate", "--url", url, "--tasks", "4-2", "--variations", "0-29")
    play.read_until("2/30")
    [folder] = {path for path in (tmp_path / "runs").iterdir() if not path.name.startswith("stack-")}
    shutil.rmtree(folder)
    folder.write_text("in the way")
    code, out, err = play.wait()
    assert code == 4, err
    assert "4-2" in out
    assert "move it away" in err
    code, _, err = waymark("down").wait()
    assert code == 0, err
    _, _, err_of_stack = stack.wait()
    arguments = recovery(err_of_stack)
    assert recovery(err)[1:] == arguments[1:]
    folder.unlink()
    code, _, err = waymark(*arguments).wait()
    assert code == 0, err
    assert len(list(RunFolder(folder).results())) == 30


def test_a_runs_path_that_is_a_file_is_bad_input(waymark: Waymark, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("")
    for path in ("README.md", "README.md/runs"):
        code, _, err = waymark("evaluate", *SCRIPTED, "--tasks", "4-2", "--runs", path).wait()
        assert code == 2
        assert "move it away" in err
        assert "Traceback" not in err


def test_recover_names_a_folder_without_data(waymark: Waymark, tmp_path: Path) -> None:
    code, _, err = waymark("recover", str(tmp_path)).wait()
    assert code == 2
    assert "holds no data" in err


def test_a_finished_evaluation_leaves_no_redis_data(waymark: Waymark, tmp_path: Path) -> None:
    code, out, err = waymark("evaluate", *SCRIPTED, "--tasks", "4-2", "--json").wait()
    assert code == 0, err
    assert json.loads(out)["episodes"]
    assert not list((tmp_path / "runs").glob("stack-*"))
    assert len(os.listdir(tmp_path / "runs")) == 1
