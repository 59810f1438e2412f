"""Traces across the worker of the env-runner, the controller and the executor, by OpenTelemetry.

Written against OpenTelemetry's API, which does nothing until a process sets up its SDK. `start` does so when the
standard variables ask for it, and only then is the SDK needed (extra `otel`):

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318      send spans there (OTLP over HTTP)
    OTEL_TRACES_EXPORTER=otlp | console | none             choose, where that variable does not say enough
    OTEL_SDK_DISABLED=true                                 none of it
    OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_* …   as the SDK has them

The clients send the current context on as W3C `traceparent`; FastAPI itself takes it up and makes a span of each
request (`POST /v1/action`). To that the services add `waymark.*`: request id, and milliseconds in queue, tokeniser and
model. The worker makes a span of each episode.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from opentelemetry import trace

from waymark import __version__
from waymark.clients.addresses import is_loopback
from waymark.clients.proxies import named_proxies
from waymark.command_hints import install
from waymark.errors import InvalidInput

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER = "OTEL_TRACES_EXPORTER"
_PROTOCOL = "http/protobuf"
_log = logging.getLogger("waymark")
_tracer = trace.get_tracer("waymark", __version__)


def start(service: str, environment: Mapping[str, str] = os.environ) -> None:
    """Send the spans of this process somewhere if the environment says so. Raises InvalidInput where it cannot.

    `service` is its name if OTEL_SERVICE_NAME gives none. What is not sent yet is sent when the process ends.
    """
    wanted = _wanted(environment)
    if wanted == "none":
        return
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter(wanted, environment)
    except ImportError as error:
        raise InvalidInput(
            "OTEL_* variables ask for traces, and OpenTelemetry's SDK is not installed.",
            remedy=f"Run `{install('otel')}`, or set OTEL_SDK_DISABLED=true.",
            field=_EXPORTER,
        ) from error
    resource = Resource.create({SERVICE_NAME: f"waymark-{service}"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def _wanted(environment: Mapping[str, str]) -> str:
    """The exporter that the environment asks for."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "none"
    default = "otlp" if any(environment.get(name) for name in _ENDPOINTS) else "none"
    wanted = environment.get(_EXPORTER, "").strip() or default
    if wanted not in ("otlp", "console", "none"):
        raise InvalidInput(
            f"{_EXPORTER}={wanted} is no exporter known here.", remedy="Set otlp, console or none.", field=_EXPORTER
        )
    for name in _PROTOCOLS:
        if wanted == "otlp" and environment.get(name, _PROTOCOL) != _PROTOCOL:
            raise InvalidInput(f"{name}={environment[name]} is not supported.", remedy=f"Set {_PROTOCOL}.", field=name)
    return wanted


def _exporter(wanted: str, environment: Mapping[str, str]) -> SpanExporter:
    if wanted == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    class Exporter(OTLPSpanExporter):
        """Says once that spans cannot be sent, without a traceback: a proxy or a certificate may be unusable."""

        complaint = ""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            try:
                return super().export(spans)
            except Exception as error:  # noqa: BLE001 - its library raises many kinds, whose texts may hold a password
                complaint = type(error).__name__
                if complaint != self.complaint:
                    named = named_proxies(environment)
                    _log.warning(
                        "Traces cannot be sent (%s). Check OTEL_EXPORTER_OTLP_ENDPOINT%s and the certificates.",
                        complaint,
                        f", {named}" if named else "",
                    )
                self.complaint = complaint
                return SpanExportResult.FAILURE

    logging.getLogger("opentelemetry.util.re").addFilter(_without_header)
    endpoint = next((url for name in _ENDPOINTS if (url := environment.get(name))), "http://localhost:4318")
    session = None
    if is_loopback(endpoint):  # never through a proxy
        session = import_module("requests").Session()
        session.trust_env = False
    return Exporter(session=session)


def _without_header(record: logging.LogRecord) -> bool:
    """Have the library's complaint about OTEL_EXPORTER_OTLP_HEADERS not quote the header, which may hold a key."""
    record.args = ("…",)
    return True


@contextmanager
def span(name: str, **attributes: str | float) -> Iterator[None]:
    """Work of this process as a span."""
    with _tracer.start_as_current_span(name, attributes=_ours(attributes)):
        yield


def note(**attributes: str | float) -> None:
    """Add to the current span what is known of it now."""
    current = trace.get_current_span()
    if current.is_recording():
        current.set_attributes(_ours(attributes))


def trace_id() -> str | None:
    """Of the current trace, in hexadecimal."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def _ours(attributes: Mapping[str, str | float]) -> dict[str, str | float]:
    return {f"waymark.{name}": value for name, value in attributes.items()}
