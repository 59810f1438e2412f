"""Evaluations that are set aside: named in the log once, listed for the health report, tried again with back-off."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from waymark.contracts.health import SetAside
from waymark.errors import WaymarkError
from waymark.serving.background_tasks import utc_now

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
_log = logging.getLogger(__name__)


@dataclass
class _Case:
    since: str
    problem: str
    remedy: str
    pause: float
    due: float
    """On the monotonic clock."""


class SetAsides:
    """Which evaluations are set aside, since when and why. `step` is what their results wait for, e.g. `written`."""

    def __init__(
        self, step: str, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], str] = utc_now
    ) -> None:
        self._step = step
        self._clock = clock
        self._now = now
        self._cases: dict[str, _Case] = {}

    def __contains__(self, evaluation_id: str) -> bool:
        return evaluation_id in self._cases

    def due(self, evaluation_id: str) -> bool:
        """Whether an evaluation is to be tried now: it is not set aside, or its pause is over."""
        case = self._cases.get(evaluation_id)
        return case is None or self._clock() >= case.due

    def put(self, evaluation_id: str, error: WaymarkError) -> None:
        """Set an evaluation aside, or aside again with a longer pause."""
        before = self._cases.get(evaluation_id)
        pause = FIRST_PAUSE if before is None else min(2 * before.pause, LONGEST_PAUSE)
        since = self._now() if before is None else before.since
        self._cases[evaluation_id] = _Case(since, error.message, error.remedy, pause, self._clock() + pause)
        if before is None or before.problem != error.message:
            _log.error(
                "The evaluation %s is set aside, its results wait to be %s: %s", evaluation_id, self._step, error
            )

    def clear(self, evaluation_id: str) -> None:
        """It works again, or is gone."""
        if self._cases.pop(evaluation_id, None) is not None:
            _log.warning("The evaluation %s is no longer set aside.", evaluation_id)

    def keep_only(self, evaluation_ids: set[str]) -> None:
        """Forget evaluations that are no longer there."""
        for gone in self._cases.keys() - evaluation_ids:
            self.clear(gone)

    def report(self) -> tuple[SetAside, ...]:
        """All that are set aside, the longest first."""
        now = self._clock()
        cases = sorted(self._cases.items(), key=lambda item: item[1].since)
        return tuple(
            SetAside(
                evaluation=name,
                since=case.since,
                problem=case.problem,
                remedy=case.remedy,
                retry_seconds=max(0, round(case.due - now)),
            )
            for name, case in cases
        )
