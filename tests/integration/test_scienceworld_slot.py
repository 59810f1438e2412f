"""The lean slot on a real JVM: what it counts, refuses and leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from scienceworld import ScienceWorldEnv

from tests.oracle import one_of_each_task
from waymark.errors import EnvironmentFault, InvalidInput
from waymark.worlds import scienceworld
from waymark.worlds.base import Step
from waymark.worlds.scienceworld.environment import ScienceWorldSlot
from waymark.worlds.scienceworld.java_cache import JavaCache
from waymark.worlds.scienceworld.simplifications import LABELS, NO_ELECTRICITY, needs_electricity
from waymark.worlds.scienceworld.tasks import SPLITS, TASKS, find_task

ORPHAN = """
import time
from waymark.worlds.scienceworld.environment import ScienceWorldSlot
slot = ScienceWorldSlot()
slot.reset("4-2", 0, "easy")
print(slot._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def kitchen(slot: ScienceWorldSlot) -> ScienceWorldSlot:
    """The module's JVM at the beginning of an episode, in the kitchen."""
    slot.reset("4-2", 0, "easy")
    slot.step("teleport to kitchen")
    return slot


def gone(pid: int) -> bool:
    """Whether a process has ended within ten seconds; a zombie that nobody reaped has."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.1)
    return False


def test_an_opening_holds_the_task_line_and_the_scene(slot: ScienceWorldSlot) -> None:
    opening = slot.reset("4-2", 0, "easy")
    assert opening.task.startswith("Your task is to find a(n) non-living thing.")
    assert "\n" not in opening.task
    assert opening.look.startswith("This room is called the ")
    assert opening.inventory.startswith("In your inventory, you see:")


@pytest.mark.parametrize("action", ["fly to the moon", "pick up unicorn", ""])
def test_an_unknown_action_is_flagged_and_costs_no_move(kitchen: ScienceWorldSlot, action: str) -> None:
    before = kitchen.step("look around").moves
    step = kitchen.step(action)
    assert not step.known
    assert step.moves == before


def test_an_ambiguous_request_is_resolved_at_once_with_reading_0(kitchen: ScienceWorldSlot) -> None:
    step = kitchen.step("go to door")
    assert (step.ambiguous, step.known) == (True, True)
    assert step.observation.startswith("You move through the door to the ")
    after = kitchen.step("look around")
    assert (after.ambiguous, after.known, after.look) == (False, True, step.look)


def test_the_simulator_counts_11_2_1_and_0_moves(kitchen: ScienceWorldSlot) -> None:
    counted, before = [], kitchen.step("task").moves
    for action in ("wait", "wait1", "open cupboard", "look around", "inventory", "task", "nonsense"):
        moves = kitchen.step(action).moves
        counted.append(moves - before)
        before = moves
    assert counted == [11, 2, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("action", ["reset task", " Reset  TASK ", "reset\ttask"])
def test_reset_task_is_refused_however_it_is_written(kitchen: ScienceWorldSlot, action: str) -> None:
    before = kitchen.step("look around")
    with pytest.raises(InvalidInput):
        kitchen.step(action)
    assert kitchen.step("look around") == before


def test_a_wrong_focus_scores_minus_100_without_ending_the_episode(slot: ScienceWorldSlot) -> None:
    slot.reset("1-1", 0, "easy")
    step = slot.step("focus on orange")
    assert (step.score, step.completed) == (-100, False)


def test_unknown_tasks_and_variations_are_refused(slot: ScienceWorldSlot) -> None:
    with pytest.raises(InvalidInput):
        slot.reset("1-1", 30, "easy")
    with pytest.raises(InvalidInput):
        slot.reset("11-1", 0, "easy")


@pytest.mark.parametrize(("variation", "simplifications"), [(-1, "easy"), (0, "eazy"), (0, "easy,eazy"), (10**12, "")])
def test_a_refused_reset_leaves_the_simulator_usable(
    slot: ScienceWorldSlot, variation: int, simplifications: str
) -> None:
    for ask in (slot.reset, slot.gold_path):
        with pytest.raises(InvalidInput):
            ask("4-2", variation, simplifications)
    assert slot.reset("4-2", 0, "easy").look.startswith("This room is called")


def test_the_labels_are_the_simulators_own(slot: ScienceWorldSlot) -> None:
    server = slot._server
    assert tuple(server.getPossibleSimplifications().split(", ")) == LABELS
    for task in (find_task("4-2"), find_task("3-3")):
        slot.reset(task.id, 0, "easy")
        used = server.getSimplificationsUsed()
        assert (NO_ELECTRICITY in used) != needs_electricity(task)
        slot.reset(task.id, 0, "easy,openDoors")
        assert server.getSimplificationsUsed() == used


@pytest.mark.parametrize("broken", [("4-2", 0, "eazy"), ("4-2", 300, "easy"), ("no-task", 0, "easy")])
def test_an_error_text_of_the_simulator_is_never_an_observation(
    slot: ScienceWorldSlot, broken: tuple[str, int, str]
) -> None:
    """The simulator in an error state of its own, as a version with other labels or tasks would be."""
    task, variation, simplifications = broken
    slot.reset("4-2", 0, "easy")
    name = find_task(task).name if task != "no-task" else task
    slot._server.load(name, variation, simplifications, False)
    with pytest.raises(EnvironmentFault, match=r"ERROR|no task"):
        slot._opening()
    slot.reset("4-2", 0, "easy")
    slot._server.load(name, variation, "eazy", False)
    slot._episode = slot._gateway.jvm.waymark.Episode(slot._server.agentInterface().get())
    with pytest.raises(EnvironmentFault, match="Unknown simplification"):
        slot.step("look around")
    slot.reset("4-2", 0, "easy")


def test_the_task_table_equals_the_simulators_splits(slot: ScienceWorldSlot) -> None:
    for task in TASKS:
        assert slot.variations(task.id) == tuple(list(task.split(split)) for split in SPLITS), task.id


PATH = (  # unknown, ambiguous, empty and free inputs among those that change something; the last one ends the episode
    "look around", "", "open door to kitchen", "go to kitchen", "task", "objects", "go to door", "go to kitchen",
    "pick up thermometer", "use thermometer on stove", "examine unicorn", "open cupboard", "activate stove", "wait1",
    "pick up metal pot", "move metal pot to stove", "use thermometer on metal pot", "inventory", "wait",
    "focus on thermometer", "focus on orange",
)  # fmt: skip

FIRST = 8
"""Actions of an oracle path that are played."""


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[ScienceWorldSlot, ScienceWorldEnv]]:
    """Our slot and ScienceWorld's own environment, which list things alike.

    Java numbers objects at random, and the simulator lists things by these numbers: here all have the same.
    """
    options = ("-XX:+UnlockExperimentalVMOptions", "-XX:hashCode=2")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", " ".join(options))  # theirs; our slot does not see it
    monkeypatch.chdir(tmp_path)
    ours, theirs = ScienceWorldSlot(options=options), ScienceWorldEnv("", envStepLimit=1_000)
    yield ours, theirs
    theirs.close()
    ours.close()


def assert_alike(ours: ScienceWorldSlot, theirs: ScienceWorldEnv, action: str) -> list[str]:
    """Both say the same to an action. Returns what is valid then."""
    step = ours.step(action)
    observation, _, done, info = theirs.step(action)
    if step.ambiguous:
        observation, _, done, info = theirs.step("0")
    assert (step.observation, step.look, step.inventory) == (observation, info["look"], info["inv"]), action
    assert (step.score, step.moves, step.completed or step.score < 0) == (info["score"], info["moves"], done), action
    return sorted({*info["valid"]} - {"reset task"})


def test_a_step_equals_that_of_scienceworlds_own_environment(pair: tuple[ScienceWorldSlot, ScienceWorldEnv]) -> None:
    ours, theirs = pair
    ours.reset("1-1", 0, "easy")
    theirs.load("boil", 0, "easy")
    theirs.reset()
    for action in PATH:
        assert_alike(ours, theirs, action)


def test_every_task_plays_as_in_scienceworlds_own_environment(pair: tuple[ScienceWorldSlot, ScienceWorldEnv]) -> None:
    ours, theirs = pair
    for path in one_of_each_task():
        ours.reset(path.task_id, path.variation, "easy")
        theirs.load(find_task(path.task_id).name, path.variation, "easy")
        theirs.reset()  # it looks around, which may meet a goal
        ours.step("look around")
        ours.valid_actions()
        for step in path.steps[:FIRST]:
            valid = assert_alike(ours, theirs, step.action)
            # Their steps list what is valid, which draws from the simulator's chance: so must ours.
            assert ours.valid_actions() == valid, (path.task_id, step.action)


def readings(slot: ScienceWorldSlot, parser: Any, text: str) -> list[str]:
    """What a parser of the simulator's takes an input for: the answer, then the action or the choice of actions."""
    world = slot._server.agentInterface().get()
    room = world.agent().getContainer().get()
    reading = parser.parse(
        text, room, world.universe(), world.agent(), world.objMonitor(), world.task().goalSequence(), room
    )
    action = reading._4()
    meant = [action.get().name(), action.get().assignments().toString()] if action.isDefined() else []
    parser.clearAmbiguousState()
    return [reading._1(), reading._3(), *meant]


def test_inputs_are_parsed_as_the_simulators_own_parser_does(kitchen: ScienceWorldSlot) -> None:
    world = kitchen._server.agentInterface().get()
    ours = world.inputParser()
    theirs = kitchen._gateway.jvm.scienceworld.input.InputParser(world.actionHandler().getActions())
    assert ours.getClass().getName() == "waymark.Parser"
    valid = kitchen.valid_actions()[::25]
    inputs = [*valid, *(text[: len(text) // 2] for text in valid), *(text.replace(" ", "  the ") for text in valid)]
    inputs += ["pick up object", "move cup to object", "GO TO Door", "look at a", "open door to the hallway", "a"]
    for text in inputs:
        assert readings(kitchen, ours, text) == readings(kitchen, theirs, text), text


def test_the_jar_holds_the_java_beside_it() -> None:
    folder = Path(scienceworld.__file__).parent
    sources = {file.name: file.read_bytes() for file in (folder / "java" / "waymark").iterdir()}
    with ZipFile(folder / "episode.jar") as jar:
        carried = {name: jar.read(f"waymark/{name}") for name in sources}
    assert carried == sources, "Run .ci/jar, which compiles it."


def test_closing_ends_the_jvm_and_may_be_repeated() -> None:
    slot = ScienceWorldSlot()
    pid = slot._process.pid
    slot.close()
    slot.close()
    assert gone(pid)
    with pytest.raises(EnvironmentFault):
        slot.step("look around")


def test_a_jvm_that_dies_is_a_fault_of_the_environment() -> None:
    slot = ScienceWorldSlot()
    slot.reset("4-2", 0, "easy")
    slot._process.kill()
    with pytest.raises(EnvironmentFault, match="failed"):
        slot.step("look around")
    slot.close()


def test_a_slow_call_ends_the_jvm_with_a_reason() -> None:
    slot = ScienceWorldSlot(timeout=0.02)
    with pytest.raises(EnvironmentFault, match="did not answer within"):
        slot.reset("10-1", 0, "easy")
    assert gone(slot._process.pid)
    slot.close()


def test_a_jvm_over_its_memory_is_ended_with_a_reason() -> None:
    slot = ScienceWorldSlot()
    slot.reset("4-2", 0, "easy")
    slot._watchdog._memory_mb = 1

    def look_on() -> None:
        for _ in range(1_000):
            slot.step("look around")

    with pytest.raises(EnvironmentFault, match="grew past 1 MB"):
        look_on()
    assert gone(slot._process.pid)
    slot.close()


def test_the_jvm_dies_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.send_signal(signal.SIGKILL)
    assert gone(pid)


def play(slot: ScienceWorldSlot, steps: int) -> list[Step]:
    slot.reset("4-2", 0, "easy")
    ways = ("look around", "teleport to kitchen", "open fridge", "pick up thermometer", "wait1", "teleport to hallway")
    return [slot.step(ways[number % len(ways)]) for number in range(steps)]


def mapped(slot: ScienceWorldSlot) -> bool:
    """Whether the JVM has a cache in its memory."""
    return ".aot" in Path(f"/proc/{slot._process.pid}/maps").read_text()


def test_a_jvm_uses_the_cache_of_earlier_ones(tmp_path: Path) -> None:
    first, beside = ScienceWorldSlot(cache=tmp_path), ScienceWorldSlot(cache=tmp_path)
    expected = play(first, 240)
    assert not mapped(first)
    beside.close()
    first.close()
    (written,) = tmp_path.glob("*.aot")
    assert {file.suffix for file in tmp_path.iterdir()} == {".aot", ".lock", ".sha256"}
    before = written.stat().st_mtime_ns
    second, third = ScienceWorldSlot(cache=tmp_path), ScienceWorldSlot(cache=tmp_path)
    assert mapped(second)
    assert mapped(third)
    assert play(second, 240) == expected
    second.close()
    third.close()
    assert written.stat().st_mtime_ns == before


def test_a_killed_or_short_lived_jvm_writes_no_cache(tmp_path: Path) -> None:
    for steps in (3, 240):
        slot = ScienceWorldSlot(cache=tmp_path)
        play(slot, steps)
        if steps > 3:
            slot._process.kill()
        slot.close()
        assert {file.suffix for file in tmp_path.iterdir()} == {".lock"}


def test_an_unusable_cache_does_not_stop_a_jvm(tmp_path: Path) -> None:
    slot = ScienceWorldSlot(cache=tmp_path)
    assert slot._cache is not None
    slot._cache._file.write_bytes(b"no cache" * 1_000)
    unread = ScienceWorldSlot(cache=tmp_path)
    nowhere = ScienceWorldSlot(cache=slot._cache._file / "folder")
    for usable in (unread, nowhere, slot):
        assert len(play(usable, 3)) == 3
        usable.close()


def test_an_older_java_gets_no_cache(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "release").write_text('IMPLEMENTOR="somebody"\nJAVA_VERSION="21.0.2"\n')
    older = JavaCache(tmp_path / "cache", str(tmp_path / "bin" / "java"), [])
    (tmp_path / "release").write_text('IMPLEMENTOR="somebody"\nJAVA_VERSION="26"\n')
    newer = JavaCache(tmp_path / "cache", str(tmp_path / "bin" / "java"), [])
    assert not older.options
    assert newer.options
    newer.close(whole=False)
