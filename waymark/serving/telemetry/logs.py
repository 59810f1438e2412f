"""How a process logs: lines for people, or with WAYMARK_LOG=json one JSON document a line, to stderr.

A document has `time` (ISO 8601, UTC), `level`, `logger` and `message`; within a request `request_id` (that of the
`X-Request-ID` header) and, if it is traced, `trace_id`; and whatever else was logged as `extra`.

Control characters of a message are escaped in both forms, so that no caller can begin a line of its own. Lines of a
traceback are indented.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import Any, Final, Literal, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from waymark.serving.printable_text import printable
from waymark.serving.telemetry import tracing

Form = Literal["text", "json"]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that is being answered."""
_access = logging.getLogger("waymark.access")
_LONGEST_PATH: Final = 500
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(form: Form) -> None:
    """Set up logging for this process, once, before it does anything else."""
    # No format shows the source line of a record, and finding it takes half of a line's time.
    logging._srcfile = None  # as logging's own how-to has it
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.INFO, handlers=[handler(form, sys.stderr)], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def handler(form: Form, stream: TextIO) -> logging.Handler:
    """Writes records to a stream in one form or the other."""
    stream_handler = logging.StreamHandler(stream)
    stream_handler.addFilter(_escape)
    stream_handler.addFilter(_add_context)
    stream_handler.setFormatter(_Text(_TEXT) if form == "text" else _json())
    return stream_handler


def _json() -> logging.Formatter:
    return JsonFormatter(
        ("levelname", "name", "message"),
        timestamp="time",
        rename_fields={"levelname": "level", "name": "logger"},
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn's, the message once more
    )


def access(method: str, path: str, status: int, seconds: float) -> None:
    """One line for a request that was answered."""
    path = printable(path, _LONGEST_PATH)
    milliseconds = round(seconds * 1000, 3)
    _access.info(
        "%s %s %d in %.1f ms",
        method,
        path,
        status,
        milliseconds,
        extra={"method": method, "path": path, "status": status, "ms": milliseconds},
    )


def _escape(record: logging.LogRecord) -> bool:
    """Make the message one line of printable characters; let all pass."""
    message = record.getMessage()
    if not message.isprintable():
        record.msg, record.args = printable(message), None
    return True


def _add_context(record: logging.LogRecord) -> bool:
    """Tell each record what it belongs to; let all pass."""
    if request := request_id.get():
        record.request_id = request
    if trace := tracing.trace_id():
        record.trace_id = trace
    return True


class _Text(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line, with the request id where there is one."""
        request = getattr(record, "request_id", None)
        return super().formatMessage(record) + (f" (request {request})" if request else "")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The traceback; what an error says may come from a caller, so none of its lines begins as a record does."""
        return "\n".join("  " + printable(line) for line in super().formatException(ei).split("\n"))
