"""A place for one environment in a worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from waymark.errors import EnvironmentFault
from waymark.worlds.base import Environment

_log = logging.getLogger(__name__)


class Slot:
    """A place for one environment, opened on first use and replaced after a fault."""

    def __init__(self, open_environment: Callable[[], Environment]) -> None:
        self._open = open_environment
        self._environment: Environment | None = None

    async def environment(self) -> Environment:
        """The environment; opening a simulator takes seconds. Raises EnvironmentFault when it does not start."""
        if self._environment is None:
            self._environment = await asyncio.to_thread(self._open)
        return self._environment

    async def discard(self) -> None:
        """Close it; the next use opens a fresh one."""
        environment, self._environment = self._environment, None
        if environment is not None:
            try:
                await asyncio.to_thread(environment.close)
            except (EnvironmentFault, OSError) as error:  # it is replaced anyway
                _log.warning("An environment did not close in order: %s", error)
