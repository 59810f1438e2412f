"""A lean ScienceWorld slot: one JVM that plays one episode at a time.

`ScienceWorldEnv.step` lists every valid action after every step, which costs five to six times what the
step itself does. This slot asks for what an episode needs, and asks the simulator itself: the server object in front
of it, made for Python, looks around twice more at every step and writes down for a console what could be named.
A little Java of ours stands in between (`java/waymark`, compiled by `.ci/jar`): a step is one call, and inputs are
parsed without spelling out every way to call everything in sight.
The slot does not apply a move limit and does not end an episode on a negative score: the episode loop does.

The simulator's random state is global to its JVM, so two episodes never share one. The JVM's heap is
capped, it listens on loopback behind a secret, and it dies with the process that started it.
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from py4j.protocol import Py4JError
from scienceworld.constants import JAR_PATH

from waymark.contracts import Opening
from waymark.errors import EnvironmentFault, InvalidInput, SimulatorNotStarted
from waymark.worlds.base import Step
from waymark.worlds.java_calls import PLAY_AGAIN, connect, py4j_jar, watched_call
from waymark.worlds.java_process import START_SECONDS, Jvm, find_java
from waymark.worlds.java_watchdog import LATE, Watchdog
from waymark.worlds.scienceworld.actions import FORBIDDEN
from waymark.worlds.scienceworld.java_cache import JavaCache
from waymark.worlds.scienceworld.simplifications import for_simulator
from waymark.worlds.scienceworld.tasks import check_variation, find_task

ENVIRONMENT_VERSION = f"scienceworld {version('scienceworld')}"

_UNREAD = "No known action matches that input"
_UNKNOWN = (_UNREAD, "Unknown action")
_ANSWERED_IN_FRONT = frozenset({"help", "objects", "task"})
"""Inputs that the server object answers without asking the simulator: they cost no move."""
_NOTHING_SAID = (
    "Unknown action.  Type 'help' for a list of actions, and 'objects' for a list of possible object references. "
)
"""What the server object says where the simulator says nothing."""
_ERROR_TEXTS = ("ERROR:", "<ERROR")
"""What stands in the simulator's texts where it reports an error of its own as if it were an observation. None of the
recorded trajectories holds one."""
_NO_TASK = "unknown"
"""The simulator's description of a task that it could not load."""
_QUOTED = 300
"""Characters of the simulator's own words that an error quotes."""
_EPISODE_JAR = Path(__file__).with_name("episode.jar")
_APART = "\x1f"
"""Between the parts of what an `Episode` of Java's says."""
_COMPILER = tuple(
    f"-XX:Tier4{threshold}"
    for threshold in (
        "InvocationThreshold=50000",
        "MinInvocationThreshold=6000",
        "CompileThreshold=150000",
        "BackEdgeThreshold=400000",
    )
)
"""Ten times what Java itself waits for before it compiles a method for good: an evaluation is over soon, and the second
compiler takes most of a simulator's CPU in its first thousand steps."""
START_PAUSES = (0.5, 1.0, 2.0)
"""Seconds between the tries to start a JVM, give or take a half."""
_ENOUGH_STEPS = 200
"""After fewer steps a JVM knows too little of the simulator to write it down for others."""
_WRITING_SECONDS = 60.0
"""How long it may take for that; it takes three where cores are free. Whoever is killed meanwhile leaves nothing."""
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def slot_jars() -> tuple[str, ...]:
    """The class path of a slot's JVM."""
    return py4j_jar(), JAR_PATH, str(_EPISODE_JAR)


class ScienceWorldSlot:
    """One JVM running ScienceWorld. Implements `waymark.worlds.base.Environment`.

    `heap` is Java's -Xmx. `timeout` is how many seconds one call may take before the JVM is taken for
    hung and killed; gold paths of the Mendelian tasks take 30 s, everything else under 5. `memory_mb` is how much
    the JVM may hold in memory, its heap and all else, before it is killed too (Linux). In the folder `cache` JVMs keep
    what makes the next ones faster (`java_cache`); None: they keep nothing. `options` are added to Java's own.

    A start may take `start_seconds`. One that fails is tried again after each of the `pauses`, in seconds. Raises
    SimulatorNotStarted when none succeeds.
    """

    def __init__(
        self,
        *,
        heap: str = "1g",
        timeout: float = 60.0,
        memory_mb: float = 2_000,
        cache: Path | None = None,
        options: Sequence[str] = (),
        start_seconds: float = START_SECONDS,
        pauses: Sequence[float] = START_PAUSES,
    ) -> None:
        self._heap, self._timeout, self._memory_mb = heap, timeout, memory_mb
        self._options, self._start_seconds = tuple(options), start_seconds
        self._score, self._completed = 0, False
        self._valid: list[str] | None = None
        """What is valid now, once somebody has asked."""
        self._steps = 0
        self._cache_folder = cache
        for pause in (*pauses, None):
            try:
                self._start(find_java())
            except SimulatorNotStarted as error:
                if pause is None:
                    raise
                _log.warning("Trying to start a simulator again: %s", error)
                time.sleep(pause * random.uniform(0.5, 1.5))
            else:
                return

    def _start(self, java: str) -> None:
        """Start a JVM, from the cache or without it. Raises SimulatorNotStarted, with nothing left behind."""
        jars = slot_jars()
        cache = None if self._cache_folder is None else JavaCache(self._cache_folder, java, jars)
        try:
            self._start_with(java, jars, cache.options if cache else ())
        except SimulatorNotStarted as error:
            if cache is None or not cache.options:
                raise
            cache.close(whole=False)
            if error.killed:
                raise
            if cache.reads:
                cache.discard(f"Java does not start from it ({error.message.rstrip('.')})")
            self._cache_folder = cache = None
            self._start_with(java, jars, ())
        self._cache = cache

    def _start_with(self, java: str, jars: Sequence[str], cache_options: Sequence[str]) -> None:
        heap = f"-Xmx{self._heap}"
        try:
            # The simulator writes a table of object types into its working directory.
            self._folder = tempfile.TemporaryDirectory(prefix="waymark-slot-", ignore_cleanup_errors=True)
        except OSError as error:
            raise SimulatorNotStarted(
                f"No folder can be made for a simulator: {error}.",
                remedy="Set TMPDIR to a folder that can be written to and has room.",
            ) from error
        jvm: Jvm | None = None
        watchdog: Watchdog | None = None
        try:
            options = [heap, "-XX:+UseParallelGC", *_COMPILER, *cache_options, *self._options]
            jvm = Jvm(java, options, jars, self._folder.name, start_seconds=self._start_seconds)
            self._jvm, self._process = jvm, jvm.process
            self._gateway = connect(jvm)
            self._watchdog = Watchdog(self._process.pid, self._timeout, self._memory_mb, self._kill)
            watchdog = self._watchdog
            watchdog.expect_answer(self._start_seconds)
            self._set_up()
            self._server: Any = self._gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface()
            self._episode: Any = self._server.agentInterface()  # Scala's None until a task is loaded
            watchdog.answered()
        except (OSError, ValueError, RuntimeError, Py4JError, SimulatorNotStarted) as error:
            self._folder.cleanup()
            if isinstance(error, SimulatorNotStarted) or jvm is None:
                raise
            if watchdog is not None:
                watchdog.close()
                if watchdog.reason is not None:
                    jvm.ended = jvm.too_late if watchdog.reason.startswith(LATE) else watchdog.reason
            raise jvm.not_started(str(error).rstrip(".")) from error

    def reset(self, task_id: str, variation: int, options: str) -> Opening:
        """Load a task; 0.1 to 3 s. Raises EnvironmentFault, and InvalidInput for what the simulator does not have."""
        self._load(task_id, variation, options, gold_path=False)
        return self._call(self._opening)

    def gold_path(self, task_id: str, variation: int, options: str) -> list[str]:
        """The simulator's own solution. Leaves the episode in an undefined state: call `reset` next."""
        self._load(task_id, variation, options, gold_path=True)
        return [str(action) for action in self._call(self._server.getGoldActionSequence)]

    def step(self, action: str) -> Step:
        """Take one action; some milliseconds. An ambiguous request is answered with reading 0."""
        if action.lower().split() == FORBIDDEN.split():
            raise InvalidInput(
                f"{FORBIDDEN!r} would restart the episode.", remedy="Submit a new episode instead.", field="action"
            )
        return self._call(lambda: self._step(action))

    def step_as_given(self, action: str) -> Step:
        """Take one action as the simulator itself does.

        An ambiguous request is answered with its question, and the next input has to be the number of a reading.
        """
        return self._call(lambda: self._step_as_given(action))

    def valid_actions(self) -> list[str]:
        """All valid actions, sorted; about 0.05 s in a full room, nothing as long as no action has been known."""
        if self._valid is None:
            self._valid = self._call(self._list_valid)
        return list(self._valid)

    def action_templates(self) -> list[str]:
        """The templates that the simulator lists now, e.g. `connect OBJ to OBJ`."""
        return [str(template) for template in self._call(lambda: list(self._server.getPossibleActions()))]

    def completed_goals(self) -> list[str]:
        """Descriptions of the simulator's own goals that are met now, such as `activate heater (stove)`."""
        text: str = self._call(self._server.getGoalProgressStr)
        rows = [line.split("\t") for line in text.splitlines()]
        return [row[-1].strip() for row in rows if len(row) == 4 and row[1] == "true"]

    def variations(self, task_id: str) -> tuple[list[int], list[int], list[int]]:
        """The simulator's own train, dev and test variations of a task."""
        self._load(task_id, 0, "easy", gold_path=False)
        server = self._server
        return self._call(
            lambda: (
                list(server.getVariationsTrain()),
                list(server.getVariationsDev()),
                list(server.getVariationsTest()),
            )
        )

    def close(self) -> None:
        """End the JVM: politely, then by force. One that writes the cache takes some seconds for it."""
        self._watchdog.close()
        writes = self._cache is not None and self._cache.writes
        if writes and self._steps < _ENOUGH_STEPS:
            self._kill()
        with suppress(Py4JError, OSError):
            self._gateway.shutdown()
        self._jvm.close_input()
        with suppress(Exception):
            self._process.wait(timeout=_WRITING_SECONDS if writes else 2)
        self._kill()
        if self._cache is not None:
            self._cache.close(whole=writes and self._process.returncode == 0)
        self._folder.cleanup()

    def _load(self, task_id: str, variation: int, options: str, *, gold_path: bool) -> None:
        task = find_task(task_id)
        check_variation(task, variation)
        labels = for_simulator(options, task)
        problem = self._call(lambda: self._server.load(task.name, variation, labels, gold_path))
        if problem:
            raise EnvironmentFault(
                f"ScienceWorld refused task {task_id}, variation {variation}: {str(problem)[:_QUOTED]}",
                remedy="Check that the installed version of scienceworld is the one that waymark was made for.",
            )

    def _opening(self) -> Opening:
        self._episode = self._gateway.jvm.waymark.Episode(self._server.agentInterface().get())
        self._score, self._completed, self._valid = 0, False, None
        task = str(self._server.getTaskDescription())
        _, look, inventory = str(self._episode.seen()).split(_APART)
        _refuse_error_texts(task, look, inventory)
        if task == _NO_TASK:
            raise EnvironmentFault("ScienceWorld loaded no task.", remedy=PLAY_AGAIN)
        return Opening(task=task.removeprefix("Task Description:").strip(), look=look, inventory=inventory)

    def _step(self, action: str) -> Step:
        ambiguous = "false"
        if action.strip().lower() in _ANSWERED_IN_FRONT:
            observation = str(self._server.step(action))
            moves, look, inventory = str(self._episode.seen()).split(_APART)
        else:
            answer = str(self._episode.step(action)).split(_APART)
            observation, score, completed, ambiguous, moves, look, inventory = answer
            observation = observation or _NOTHING_SAID
            self._score, self._completed = round(100 * float(score)), completed == "true"
        _refuse_error_texts(observation, look, inventory)
        self._steps += 1
        if not observation.startswith(_UNREAD):
            self._valid = None
        return self._seen(observation, moves, look, inventory, ambiguous=ambiguous == "true")

    def _step_as_given(self, action: str) -> Step:
        observation = str(self._server.step(action)) or _NOTHING_SAID
        moves, look, inventory = str(self._episode.seen()).split(_APART)
        self._score, self._completed = round(100 * float(self._server.getScore())), bool(self._server.getCompleted())
        self._steps += 1
        self._valid = None
        return self._seen(observation, moves, look, inventory)

    def _seen(self, observation: str, moves: str, look: str, inventory: str, *, ambiguous: bool = False) -> Step:
        """What came of the last action."""
        return Step(
            observation=observation,
            look=look,
            inventory=inventory,
            score=self._score,
            moves=int(moves),
            completed=self._completed,
            known=not observation.startswith(_UNKNOWN),
            ambiguous=ambiguous,
        )

    def _list_valid(self) -> list[str]:
        return [action for action in str(self._episode.validActions()).split("\n") if action != FORBIDDEN]

    def _set_up(self) -> None:
        """Have the JVM's output go nowhere, before the simulator is loaded: it tells a console each step at length.
        And have connections, those from here on, send each answer at once.
        """
        java = self._gateway.jvm.java
        java.lang.System.setOut(java.io.PrintStream(os.devnull))
        self._gateway.java_gateway_server.addListener(self._gateway.jvm.waymark.Prompt())
        self._gateway.close()

    def _call(self, function: Callable[[], _T]) -> _T:
        return watched_call(function, self._jvm, self._watchdog)

    def _kill(self) -> None:
        self._jvm.end()


def _refuse_error_texts(*texts: str) -> None:
    """Raise EnvironmentFault if the simulator reports an error in place of what it was asked for."""
    for text in texts:
        if any(mark in text for mark in _ERROR_TEXTS):
            raise EnvironmentFault(
                f"ScienceWorld answered with an error text: {text.strip()[:_QUOTED]}",
                remedy=f"{PLAY_AGAIN} Report it if it happens again.",
            )
