"""What a worker tells Prometheus, on a port of its own."""

from __future__ import annotations

import httpx
import pytest

from services.env_runner.worker_metrics import WorkerMetrics
from tests.samples import spec
from waymark.child_processes.child_process import HOST
from waymark.cli.local_stack import free_ports
from waymark.contracts import EpisodeResult
from waymark.errors import PortInUse

RESULT = EpisodeResult.of(spec(), "completed", raw_score=100, moves=7, actions=9, turns=12, model_calls=15, seconds=1.0)


def test_a_worker_serves_metrics_of_its_episodes_at_its_port() -> None:
    metrics, port = WorkerMetrics(slots=2), free_ports()["executor"]
    metrics.listen(HOST, 0)
    metrics.listen(HOST, port)
    with pytest.raises(PortInUse, match=str(port)):
        WorkerMetrics(slots=2).listen(HOST, port)
    metrics.committed(RESULT)
    metrics.committed(RESULT.model_copy(update={"stopped": "error", "actions": 1}))
    metrics.retried("service")
    with metrics.playing():
        text = httpx.get(f"http://{HOST}:{port}/metrics", trust_env=False).text
    for line in (
        "waymark_worker_slots 2.0",
        "waymark_worker_slots_in_use 1.0",
        'waymark_worker_episodes_total{stopped="completed"} 1.0',
        'waymark_worker_episodes_total{stopped="error"} 1.0',
        "waymark_worker_actions_total 10.0",
        "waymark_worker_model_calls_total 30.0",
        'waymark_worker_retries_total{reason="service"} 1.0',
        'waymark_worker_retries_total{reason="environment"} 0.0',
    ):
        assert line in text.splitlines()
