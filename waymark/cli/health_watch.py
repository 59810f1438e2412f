"""Messages about what an evaluation waits for, from the env-runner's `/health/ready`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable

import httpx
from pydantic import ValidationError

from waymark.clients.services import ENDED
from waymark.command_hints import command
from waymark.contracts import EvaluationStatus, Problem
from waymark.contracts.health import RunnerHealth
from waymark.errors import JobStoreFull, StorageUnavailable, WaymarkError

LOOK_SECONDS = 1.0
PATIENCE = 3.0
"""Seconds without a possible write until that counts as an error; a folder may come back."""
IDLE_SECONDS = 30.0
"""Seconds without a running episode until that is reported; a simulator starts within some 10 s."""
_TIMEOUT = 5.0
_JOB_STORE_FULL = "urn:waymark:job-store-full"


class HealthWatch:
    """Prints once what prevents evaluations from being played or written, and once when that is over.

    `statuses` are the latest known statuses of these evaluations.
    """

    def __init__(
        self,
        url: str,
        statuses: Callable[[], Collection[EvaluationStatus]],
        say: Callable[[str], None],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._idle_since: float | None = None
        self._transport = transport
        self._clock = clock
        self._url = f"{url.rstrip('/')}/health/ready"
        self._statuses = statuses
        self._say = say
        self._problems: dict[str, str] = {}
        """What was reported and is not over, by what it is about."""
        self._looked = float("-inf")
        self._hopeless_since: float | None = None
        self._cause: WaymarkError | None = None
        """What keeps results from being written, according to the last answer."""

    async def look(self) -> WaymarkError | None:
        """Ask the service, unless it was asked a moment ago, and print what is new.

        Returns the error that keeps the results of all of these evaluations from being written, if there is one and it
        has lasted for PATIENCE seconds.
        """
        now = self._clock()
        self._look_for_workers(now)
        if now - self._looked < LOOK_SECONDS:
            return None
        self._looked, self._cause = now, None
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, transport=self._transport) as client:
                answer = await client.get(self._url)
            error = self._read(answer)
        except httpx.HTTPError as failure:
            self._report({"": f"The env-runner does not answer: {str(failure) or type(failure).__name__}."})
            error = None
        except ValidationError:
            return None  # an env-runner of another version, which says less
        if error is None:
            self._hopeless_since = None
            return None
        self._hopeless_since = now if self._hopeless_since is None else self._hopeless_since
        return error if now - self._hopeless_since >= PATIENCE else None

    async def unwritten(self) -> WaymarkError | None:
        """Ask the service at the end. Returns the error that keeps results of any of these evaluations from being
        written, if there is one.
        """
        self._looked = float("-inf")
        await self.look()
        return self._cause

    def _look_for_workers(self, now: float) -> None:
        """Say once that nobody has played for a while, though there are episodes to play."""
        count = _unplayed(self._statuses())
        if not count:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= IDLE_SECONDS:
            self._idle_since = math.inf
            self._say(
                f"{count} episodes wait and no worker plays them. Start one: `{command('worker')}`, or see its log."
            )

    def _read(self, answer: httpx.Response) -> WaymarkError | None:
        """Say what is new in an answer; returns what concerns all of the evaluations."""
        if not answer.is_success:
            problem = Problem.model_validate_json(answer.content)
            self._report({"": f"The env-runner is not ready: {problem.detail}"})
            return JobStoreFull(problem.detail) if problem.type == _JOB_STORE_FULL else None
        health = RunnerHealth.model_validate_json(answer.content)
        ours = {status.id for status in self._statuses()}
        aside = {case.evaluation: case for case in health.set_aside if case.evaluation in ours}
        problems = {
            name: f"Results of {name} wait to be written, since {case.since}: {case.problem} {case.remedy}"
            for name, case in aside.items()
        }
        if health.runs is not None:
            problems[""] = (
                f"No results can be written, since {health.runs.since}: {health.runs.problem} {health.runs.remedy}"
            )
        self._report(problems)
        cause = health.runs or next(iter(aside.values()), None)
        if cause is None:
            return None
        self._cause = StorageUnavailable(cause.problem, remedy=cause.remedy)
        concerns_all = health.runs is not None or aside.keys() == ours
        return self._cause if concerns_all else None

    def _report(self, now: dict[str, str]) -> None:
        for about, text in now.items():
            if about not in self._problems:
                self._say(text)
        for about in self._problems.keys() - now.keys():
            self._say(f"Results of {about} are written again." if about else "The env-runner works again.")
        self._problems = now


def _unplayed(statuses: Iterable[EvaluationStatus]) -> int:
    """How many episodes wait, if none is being played."""
    begun = [status for status in statuses if status.state not in ENDED]
    if any(status.running for status in begun):
        return 0
    return sum(status.episodes - status.finished for status in begun)
