"""One evaluation, seen from outside: its traces at a collector, and the logs of its services, held together by ids."""

from __future__ import annotations

import json
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.commands import SCRIPTED, Command

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")


@dataclass(frozen=True)
class Span:
    """What a collector keeps of one."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    request: str
    """The request's id; empty where it is none of a request."""


class Collector(ThreadingHTTPServer):
    """Takes spans as OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        super().__init__(("127.0.0.1", 0), _Collecting)

    @property
    def url(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT names."""
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, body: bytes) -> None:
        """Keep the spans of one export."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    attributes = {attribute.key: attribute.value.string_value for attribute in span.attributes}
                    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                    request = attributes.get("waymark.request_id", "")
                    self.spans.append(Span(about["service.name"], span.name, *ids, request=request))


class _Collecting(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Take an export."""
        assert self.path == "/v1/traces"
        self.server.take(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_an_episode_is_one_trace_with_its_requests_logged(
    waymark: Callable[..., Command], collector: Collector
) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "WAYMARK_LOG": "json"}
    command = waymark("evaluate", *SCRIPTED, "--tasks", "1-1,4-2", "--json", settings=settings)
    code, _, err = command.wait()
    assert code == 0, err

    traces: dict[str, list[Span]] = defaultdict(list)
    for span in collector.spans:
        traces[span.trace].append(span)
    episodes = [span for span in collector.spans if span.name == "episode"]
    assert len({span.trace for span in episodes}) == 2
    for episode in episodes:
        assert (episode.service, episode.parent) == ("waymark-worker", "")
        model_spans = [span for span in traces[episode.trace] if span is not episode]
        assert {(span.service, span.name) for span in model_spans} == {
            ("waymark-controller", "POST /v1/subgoal"),
            ("waymark-executor", "POST /v1/action"),
        }
        assert {span.parent for span in model_spans} == {episode.id}

    for service in ("controller", "executor"):
        lines = [json.loads(line) for line in (command.run.path / "logs" / f"{service}.log").read_text().splitlines()]
        access = [line for line in lines if line["logger"] == "waymark.access"]
        assert not [line for line in access if line["path"].startswith("/health")]
        logged = {(line["request_id"], line["trace_id"]) for line in access if line["path"].startswith("/v1")}
        spans = {(span.request, span.trace) for span in collector.spans if span.service == f"waymark-{service}"}
        assert logged
        assert logged <= spans


def test_spans_reach_a_collector_on_loopback_past_a_proxy(
    waymark: Callable[..., Command], collector: Collector
) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:1")
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "NO_PROXY": "", "no_proxy": "", **proxies}
    code, _, err = waymark("evaluate", *SCRIPTED, "--tasks", "4-2", settings=settings).wait()
    assert code == 0, err
    assert collector.spans
