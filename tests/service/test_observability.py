"""What an operator sees of a service: its metrics by what was done, its log, and traces across client and service."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from tests.serving import STATE, captured_log
from waymark.clients.services import ControllerClient
from waymark.contracts import AgentState
from waymark.errors import InvalidInput
from waymark.inference import Generation, Generator, Prompt
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.app import create_app
from waymark.serving.loaded_models import scripted_model
from waymark.serving.settings import ServiceSettings
from waymark.serving.telemetry import tracing

pytestmark = pytest.mark.anyio


class Says(ScriptedGenerator):
    """Answers `look around`; while it is held it keeps the model's thread."""

    def __init__(self, *, truncated: int = 0) -> None:
        super().__init__(lambda _: [("look around", -1.0)])
        self.held, self.entered = threading.Event(), threading.Event()
        self.held.set()
        self._truncated = truncated

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        self.entered.set()
        self.held.wait()
        return [replace(generation, truncated_tokens=self._truncated) for generation in super().generate(prompts, n=n)]


@asynccontextmanager
async def executor(generator: Generator, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    models = {"default": scripted_model("default", "executor", generator)}
    app = create_app("executor", models, ServiceSettings(**settings))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


async def counts(client: httpx.AsyncClient) -> dict[str, float]:
    """All samples of `/metrics` by name and labels, as they are written there."""
    text = (await client.get("/metrics")).text
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# --- metrics ----------------------------------------------------------------------------------------------


async def test_metrics_count_requests_tokens_and_times() -> None:
    async with executor(Says(truncated=7)) as client:
        single = await client.post("/v1/action", json={"state": STATE})
        several = await client.post("/v1/actions", json=[{"state": STATE}] * 3)
        await client.post("/v1/action", json={"state": {}})
        await client.get("/nope")
        figures = await counts(client)
    usages = [answer["usage"] for answer in (single.json(), *several.json())]
    assert figures["waymark_request_seconds_count{route=/v1/action}{status=200}"] == 1
    assert figures["waymark_request_seconds_count{route=/v1/actions}{status=200}"] == 1
    assert figures["waymark_request_seconds_count{route=unknown}{status=404}"] == 1
    assert figures["waymark_rejected_total{reason=invalid}"] == 1
    assert figures["waymark_rejected_total{reason=not_found}"] == 1
    assert figures["waymark_batch_requests_sum{model=default}"] == 4
    assert figures["waymark_queue_seconds_count{model=default}"] == 4
    assert figures["waymark_tokenise_seconds_count{model=default}"] == 4
    assert (
        figures["waymark_model_seconds_count{model=default}"] == figures["waymark_batch_requests_count{model=default}"]
    )
    assert figures["waymark_prompt_tokens_total{model=default}"] == sum(usage["prompt_tokens"] for usage in usages)
    assert figures["waymark_completion_tokens_total{model=default}"] == sum(
        usage["completion_tokens"] for usage in usages
    )
    assert (
        figures["waymark_padded_tokens_total{model=default}"] >= figures["waymark_prompt_tokens_total{model=default}"]
    )
    assert figures["waymark_truncated_total{model=default}"] == 4
    assert figures["waymark_truncated_tokens_total{model=default}"] == 28
    assert figures["waymark_requests_in_flight"] == 1  # the one that asks
    assert figures["process_resident_memory_bytes"] > 0
    for name in ("queue", "tokenise", "model"):
        assert figures[f"waymark_{name}_seconds_bucket{{le=0.001}}{{model=default}}"] >= 0
    assert figures["waymark_request_seconds_bucket{le=0.001}{route=/v1/action}{status=200}"] >= 0


async def test_metrics_count_waiting_and_refused_requests() -> None:
    stuck = Says()
    stuck.held.clear()
    async with executor(stuck, max_queue=2) as client, anyio.create_task_group() as asking:
        asking.start_soon(lambda: client.post("/v1/action", json={"state": STATE}))
        await anyio.to_thread.run_sync(stuck.entered.wait)
        for _ in range(2):
            asking.start_soon(lambda: client.post("/v1/action", json={"state": STATE}))
        while (gauges := await counts(client))["waymark_queue_requests"] < 2:
            await anyio.lowlevel.checkpoint()
        assert gauges["waymark_requests_in_flight"] == 4
        assert gauges["waymark_queue_tokens"] > 0
        assert (await client.post("/v1/action", json={"state": STATE})).status_code == 429
        stuck.held.set()
        while (gauges := await counts(client))["waymark_requests_in_flight"] > 1:
            await anyio.lowlevel.checkpoint()
        late = await client.post("/v1/action", json={"state": STATE, "deadline_ms": 600_000})
        assert late.status_code == 200
        stuck.held.clear()
        assert (await client.post("/v1/action", json={"state": STATE, "deadline_ms": 5})).status_code == 504
        stuck.held.set()
        gauges = await counts(client)
    assert gauges["waymark_queue_requests"] == 0
    assert gauges["waymark_rejected_total{reason=queue_full}"] == 1
    assert gauges["waymark_rejected_total{reason=deadline}"] == 1
    assert gauges["waymark_lost_total{model=default}{reason=deadline}"] == 1


async def test_each_app_counts_for_itself() -> None:
    async with executor(Says()) as first, executor(Says()) as second:
        await first.post("/v1/action", json={"state": STATE})
        assert "waymark_request_seconds_count{route=/v1/action}{status=200}" in await counts(first)
        assert "waymark_request_seconds_count{route=/v1/action}{status=200}" not in await counts(second)


# --- logs -------------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What this package logs as JSON."""
    with captured_log("json") as log:
        yield log


async def test_a_request_is_logged_as_json_with_its_request_id(log: io.StringIO) -> None:
    async with executor(Says()) as client:
        answer = await client.post("/v1/action", json={"state": STATE})
        refused = await client.post("/v1/action", json={}, headers={"X-Request-ID": "mine"})
    first, second = (json.loads(line) for line in log.getvalue().splitlines())
    assert first["request_id"] == answer.headers["x-request-id"]
    assert (first["level"], first["logger"]) == ("INFO", "waymark.access")
    assert (first["method"], first["path"], first["status"]) == ("POST", "/v1/action", 200)
    assert (second["request_id"], second["status"]) == (refused.headers["x-request-id"], 422) == ("mine", 422)


async def test_an_error_is_logged_with_its_traceback_and_request_id(log: io.StringIO) -> None:
    def broken(_: str) -> Sequence[tuple[str, float]]:
        raise RuntimeError("detail")

    async with executor(ScriptedGenerator(broken)) as client:
        answer = await client.post("/v1/action", json={"state": STATE})
    error, access = (json.loads(line) for line in log.getvalue().splitlines())
    assert (error["level"], access["status"]) == ("ERROR", 500)
    assert "RuntimeError: detail" in error["exc_info"]
    assert error["request_id"] == access["request_id"] == answer.headers["x-request-id"]


async def test_health_and_metrics_are_not_logged(log: io.StringIO) -> None:
    async with executor(Says()) as client:
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert (await client.get(path)).status_code == 200
    assert log.getvalue() == ""


# --- traces -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def provider() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    """OpenTelemetry's SDK, which a process sets up once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield provider, exporter
    provider.shutdown()


@pytest.fixture
def spans(provider: tuple[TracerProvider, InMemorySpanExporter]) -> InMemorySpanExporter:
    provider[1].clear()
    return provider[1]


async def test_one_trace_spans_the_worker_the_client_and_the_controller(
    spans: InMemorySpanExporter, log: io.StringIO
) -> None:
    app = create_app("controller", {"default": scripted_model("default", "controller")}, ServiceSettings())
    async with (
        app.router.lifespan_context(app),
        ControllerClient("http://controller", transport=httpx.ASGITransport(app)) as client,
    ):
        with tracing.span("episode", task="1-1"):
            await client.subgoal(AgentState(task="t", look="l"))
        await client.ready()
    served, episode = spans.get_finished_spans()
    assert (served.name, episode.name) == ("POST /v1/subgoal", "episode")
    assert _trace(served) == _trace(episode)
    assert served.parent is not None
    assert episode.context is not None
    assert served.parent.span_id == episode.context.span_id
    assert served.parent.is_remote
    (line,) = (json.loads(line) for line in log.getvalue().splitlines())
    assert line["trace_id"] == trace.format_trace_id(_trace(served))
    assert served.attributes is not None
    assert served.attributes["waymark.request_id"] == line["request_id"]
    assert served.attributes["http.response.status_code"] == 200
    assert "waymark.model_ms" in served.attributes


async def test_a_request_without_a_trace_begins_one(spans: InMemorySpanExporter) -> None:
    async with executor(Says()) as client:
        with tracing.span("unrelated"):
            await client.post("/v1/action", json={"state": STATE})
    served, unrelated = spans.get_finished_spans()
    assert served.parent is None
    assert _trace(served) != _trace(unrelated)


def _trace(span: ReadableSpan) -> int:
    assert span.context is not None
    number: int = span.context.trace_id
    return number


@pytest.mark.parametrize("environment", [{}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}])
def test_traces_are_off_unless_asked_for(environment: dict[str, str]) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"} if environment else {}
    before = trace.get_tracer_provider()
    tracing.start("executor", endpoint | environment)
    assert trace.get_tracer_provider() is before


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_unusable_tracing_settings_are_reported(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match=r"Set (otlp|http/protobuf)"):
        tracing.start("executor", environment)


def test_traces_without_the_sdk_say_what_to_install() -> None:
    without = "import sys; sys.modules['opentelemetry.sdk.resources'] = None\n"
    ask = (
        "from waymark.serving.telemetry import tracing; tracing.start('executor', {'OTEL_TRACES_EXPORTER': 'console'})"
    )
    ended = subprocess.run([sys.executable, "-c", without + ask], capture_output=True, text=True, check=False)
    assert "-m pip install opentelemetry-exporter-otlp-proto-http==" in ended.stderr
