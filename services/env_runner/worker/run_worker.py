"""The worker as a process: opens what it needs from the settings, and stops at SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import uvloop

from services.env_runner.play_along_host import PlayHost
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.queue.play_along import PlayQueue
from services.env_runner.settings import Settings
from services.env_runner.worker.worker import Worker
from services.env_runner.worker_metrics import WorkerMetrics
from waymark.clients.aiohttp_transport import AiohttpTransport
from waymark.clients.chat import ChatClient, Limits
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.worlds.base import Environment

PLANNER_ATTEMPTS: Final = 3
"""Number of attempts for one plan."""


@asynccontextmanager
async def _open_planner(settings: Settings) -> AsyncIterator[ChatClient | None]:
    """The large model that plans episodes, if one is named."""
    if settings.planner is None:
        yield None
        return
    limits = Limits(concurrency=settings.slots, attempts=PLANNER_ATTEMPTS, timeout=settings.planner_timeout_seconds)
    async with ChatClient(settings.planner, limits) as planner:
        yield planner


def _play_host(
    settings: Settings,
    store: JobStore,
    controller: ControllerClient,
    executor: ExecutorClient,
    open_environment: Callable[[], Environment],
) -> PlayHost | None:
    if not settings.play_sessions:
        return None
    queue = PlayQueue(settings.redis)
    return PlayHost(queue, store, controller, executor, open_environment, Provenance.here(settings))


def run(settings: Settings, open_environment: Callable[[], Environment]) -> None:
    """Serve until the process is told to end, on the faster event loop."""
    uvloop.run(serve(settings, open_environment))


async def serve(settings: Settings, open_environment: Callable[[], Environment]) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    store = JobStore(settings.redis, lease_seconds=settings.lease_seconds)
    store.check_version()
    metrics = WorkerMetrics(settings.slots)
    metrics.listen(settings.host, settings.metrics_port)
    async with (
        ControllerClient(settings.controller_url, transport=AiohttpTransport()) as controller,
        ExecutorClient(settings.executor_url, transport=AiohttpTransport()) as executor,
        _open_planner(settings) as planner,
    ):
        worker = Worker(
            store,
            controller,
            executor,
            open_environment,
            Provenance.here(settings),
            planner=planner,
            metrics=metrics,
            slots=settings.slots,
            lease_seconds=settings.lease_seconds,
            redis_wait_seconds=settings.redis_wait_seconds,
            checkpoint_wait_seconds=settings.checkpoint_wait_seconds,
            play_host=_play_host(settings, store, controller, executor, open_environment),
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()
    store.close()
