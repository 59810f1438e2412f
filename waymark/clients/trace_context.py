"""The current trace, sent along with each request as W3C `traceparent`, where OpenTelemetry's API is installed."""

from __future__ import annotations

try:
    from opentelemetry.propagate import inject
except ImportError:  # a caller without it has no traces

    def trace_headers() -> dict[str, str]:
        """None: there is no trace."""
        return {}

else:

    def trace_headers() -> dict[str, str]:
        """The headers that carry the current span to the service; none outside of one."""
        headers: dict[str, str] = {}
        inject(headers)
        return headers
