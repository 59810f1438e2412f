"""Routes that say whether the env-runner works, and the counts of episodes for its metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

from fastapi import FastAPI, Request, Response

from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.redis_probe import RedisProbe
from services.env_runner.result_publisher import ResultPublisher
from waymark import __version__
from waymark.contracts import Contract, FieldProblem
from waymark.contracts.health import RunnerHealth
from waymark.errors import JobStoreUnavailable, ServiceUnavailable
from waymark.serving.middleware import problem_documents


class RunnerInfo(Contract):
    """Answer of `GET /info`."""

    service: Literal["env-runner"]
    version: str
    environment: str


class Health(Contract):
    """Answer of the health routes."""

    status: Literal["ok"]


def count_episodes(store: JobStore, probe: RedisProbe) -> Mapping[str, int]:
    """The episodes of all evaluations that are not cancelled, by state; none while Redis does not answer."""
    counts: Counter[str] = Counter(waiting=0, running=0, finished=0, errored=0)
    with suppress(JobStoreUnavailable):
        probe.check_in_thread()
        for status in store.statuses():
            if status.state != "cancelled":
                waiting = status.episodes - status.finished - status.running
                succeeded = status.finished - status.errored
                counts.update(waiting=waiting, running=status.running, finished=succeeded, errored=status.errored)
    return counts


def add_health(app: FastAPI, probe: RedisProbe, publisher: ResultPublisher, provenance: Provenance) -> None:
    """Give an app the routes `/health/…` and `/info`."""

    @app.get("/health/live")
    async def live() -> Health:
        """The process runs. Needs no thread and no Redis."""
        return Health(status="ok")

    @app.get("/health/ready", response_model=RunnerHealth)
    async def ready(request: Request) -> RunnerHealth | Response:
        """Whether Redis answers and every background task works. Answers within seconds, even while Redis hangs.

        `degraded` means that evaluations are set aside because their results cannot be written or read. All others
        continue, so the answer is 200. With a failed or stalled task it is 503, and `errors` name the same evaluations
        and the tasks.
        """
        await probe.check()
        health = publisher.health()
        if all(task.state == "running" for task in health.tasks):
            return health
        return _not_ready(health, request)

    @app.get("/info")
    def info() -> RunnerInfo:
        """Name and version of this service."""
        return RunnerInfo(service="env-runner", version=__version__, environment=provenance.environment)


def _not_ready(health: RunnerHealth, request: Request) -> Response:
    """A problem document with every failed or stalled task and every evaluation that is set aside."""
    tasks = [
        FieldProblem(field=f"tasks.{task.name}", message=f"{task.state} since {task.since}: {task.problem}")
        for task in health.tasks
        if task.state != "running"
    ]
    aside = [
        FieldProblem(field=f"set_aside.{case.evaluation}", message=f"since {case.since}: {case.problem} {case.remedy}")
        for case in health.set_aside
    ]
    detail = "; ".join(f"The background task {problem.field.partition('.')[2]} {problem.message}" for problem in tasks)
    return problem_documents.problem_response(
        503,
        ServiceUnavailable.__name__,
        f"{detail} The service's log says more.",
        str(request.state.request_id),
        errors=(*tasks, *aside),
        headers={"Retry-After": "1"},
    )
