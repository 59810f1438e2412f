"""A TextWorldExpress environment: one JVM that plays one game at a time, about 3 ms a step.

The simulator scores from 0.0 to 1.0 and says -1.0 for a failed game; here that is points of 100, and -100. It answers
every step with all valid actions, so listing them costs nothing. Names are matched whatever their case, since
prompts are in lower case and the simulator has a `TV stand`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

from py4j.protocol import Py4JError

from waymark.command_hints import install_package
from waymark.contracts import Opening
from waymark.errors import EnvironmentFault, InvalidInput
from waymark.worlds.base import EnvironmentLimits, Step
from waymark.worlds.java_calls import PLAY_AGAIN, connect, py4j_jar, watched_call
from waymark.worlds.java_process import Jvm, find_java
from waymark.worlds.java_watchdog import Watchdog
from waymark.worlds.textworld_express.options import check_options
from waymark.worlds.textworld_express.tasks import find_task, seed_of

_TITLE: Final = "TextWorldExpress"
_HEAP: Final = "-Xmx512m"
_UNKNOWN: Final = "Unknown action"
_ERROR: Final = "ERROR:"
_T = TypeVar("_T")


class TextWorldExpressEnvironment:
    """Implements `waymark.worlds.base.Environment`. Raises SimulatorNotStarted, JavaMissing."""

    def __init__(self, limits: EnvironmentLimits) -> None:
        wheel = _wheel()  # the simulator reads its tables from the working directory
        jars = [py4j_jar(), str(wheel / "textworld-express.jar")]
        self._jvm = Jvm(find_java(), [_HEAP, "-XX:+UseSerialGC"], jars, str(wheel), title=_TITLE)
        self._watchdog = Watchdog(self._jvm.process.pid, limits.timeout, limits.memory_mb, self._jvm.end)
        self._gateway = connect(self._jvm)
        try:
            self._server: Any = self._call(self._open)
        except EnvironmentFault:
            self.close()
            raise
        self._moves = 0
        self._valid: dict[str, str] = {}
        """Valid actions now, by their text in lower case."""

    def reset(self, task_id: str, variation: int, options: str) -> Opening:
        """Begin a game; some milliseconds. Raises InvalidInput for what the simulator does not have."""
        seen = self._begin(task_id, variation, options, gold_path=False)
        self._moves = 0
        task = " ".join(str(self._call(self._server.getTaskDescription)).split())
        # A game may say what to do in its first answer alone, as Simon does.
        look = str(seen["look"]) or str(seen["observation"])
        return Opening(task=task, look=look, inventory=str(seen["inventory"]))

    def gold_path(self, task_id: str, variation: int, options: str) -> list[str]:
        """The simulator's own solution. Leaves the game in an undefined state: call `reset` next."""
        self._begin(task_id, variation, options, gold_path=True)
        return [str(action) for action in self._call(lambda: list(self._server.getGoldActionSequence()))]

    def step(self, action: str) -> Step:
        """Take one action."""
        action = self._valid.get(" ".join(action.lower().split()), action)
        seen = self._read(self._call(lambda: str(self._server.stepJSON(action))))
        known = not str(seen["observation"]).startswith(_UNKNOWN)
        self._moves += known
        score = float(seen["score"])
        failed = bool(seen["taskfailure"]) or score < 0
        return Step(
            observation=str(seen["observation"]).strip(),
            look=str(seen["look"]) or str(seen["observation"]),
            inventory=str(seen["inventory"]),
            score=-100 if failed else round(100 * score),
            moves=self._moves,
            completed=failed or bool(seen["tasksuccess"]),
            known=known,
        )

    def valid_actions(self) -> list[str]:
        """All valid actions, sorted."""
        return sorted(self._valid.values())

    def close(self) -> None:
        """End the JVM."""
        self._watchdog.close()
        with suppress(Py4JError, OSError):
            self._gateway.shutdown()
        self._jvm.end()

    def _open(self) -> Any:
        java = self._gateway.jvm.java
        java.lang.System.setOut(java.io.PrintStream(os.devnull))
        return self._gateway.jvm.textworldexpress.runtime.PythonInterface()

    def _begin(self, task_id: str, variation: int, options: str, *, gold_path: bool) -> dict[str, Any]:
        task = find_task(task_id)
        if not 0 <= variation < task.variations:
            raise InvalidInput(
                f"Variation {variation} of {task_id} is out of range.",
                remedy=f"Use 0 to {task.variations - 1}.",
                field="variations",
            )
        check_options(options, [task])
        problem = self._call(lambda: str(self._server.load(task.name, options) or ""))
        if problem:
            raise InvalidInput(f"{_TITLE} refused {options!r}: {problem.strip()[:300]}", field="options")
        fold, seed = seed_of(task, variation)
        return self._read(self._call(lambda: str(self._server.generateNewGameJSON(seed, fold, gold_path))))

    def _read(self, text: str) -> dict[str, Any]:
        seen: dict[str, Any] = json.loads(text)
        observation = str(seen["observation"])
        if observation.startswith(_ERROR):
            raise EnvironmentFault(f"{_TITLE} answered with an error text: {observation[:200]}", remedy=PLAY_AGAIN)
        self._valid = {str(action).lower(): str(action) for action in seen["validActions"]}
        return seen

    def _call(self, function: Callable[[], _T]) -> _T:
        return watched_call(function, self._jvm, self._watchdog)


def _wheel() -> Path:
    """The folder of the simulator's wheel, whose own module is not imported. Raises EnvironmentFault."""
    wheel = find_spec("textworld_express")
    if wheel is None or wheel.origin is None:
        raise EnvironmentFault(
            f"{_TITLE} is not installed.",
            remedy=f"Install it: {install_package('textworld-express', 'textworld-express')}",
        )
    return Path(wheel.origin).parent
