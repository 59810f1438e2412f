"""A worker's metrics for Prometheus; `waymark.serving.telemetry.metrics` lists them with units.

A worker answers no requests, so it serves its metrics on a port of its own, and only if WAYMARK_METRICS_PORT names one.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, start_http_server

from waymark.contracts import EpisodeResult
from waymark.errors import PortInUse


class WorkerMetrics:
    """The counts of one worker, in a registry of its own."""

    def __init__(self, slots: int) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        Gauge("waymark_worker_slots", "Episodes that it can play at once.", registry=self.registry).set(slots)
        self._playing = Gauge("waymark_worker_slots_in_use", "Episodes that it plays now.", registry=self.registry)
        self._episodes = counter(
            "waymark_worker_episodes", "Episodes that it committed, by how they stopped.", "stopped"
        )
        self._actions = counter("waymark_worker_actions", "Actions executed in them.")
        self._model_calls = counter("waymark_worker_model_calls", "Questions to controller and executor for them.")
        self._retries = counter("waymark_worker_retries", "Faults of what an episode needs, by what it was.", "reason")
        for reason in ("environment", "service"):
            self._retries.labels(reason)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """A context in which a slot counts as in use."""
        with self._playing.track_inprogress():
            yield

    def committed(self, result: EpisodeResult) -> None:
        """Count a committed episode."""
        self._episodes.labels(result.stopped).inc()
        self._actions.inc(result.actions)
        self._model_calls.inc(result.model_calls)

    def retried(self, reason: str) -> None:
        """Count a retry after a failure of a simulator (`environment`) or of a service (`service`)."""
        self._retries.labels(reason).inc()

    def listen(self, host: str, port: int) -> None:
        """Serve the metrics at this port, in a thread; port 0: do nothing. Raises PortInUse."""
        if not port:
            return
        try:
            start_http_server(port, host, self.registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortInUse(
                f"Port {port} on {host} is in use.", remedy="Give each worker a WAYMARK_METRICS_PORT of its own, or 0."
            ) from error
