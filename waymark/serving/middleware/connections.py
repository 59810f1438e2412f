"""The HTTP connections of every service: limits on heads, on time and on how many there are.

`Connection` is uvicorn's protocol with these rules, so that they hold in front of every route:

- URL and headers together have at most `head_bytes`; over it the answer is 431 and the connection is closed.
- A head has `head_seconds`. A body may pause for `body_seconds`, and needs `body_rate` bytes a second over all. Over
  these times the answer is 408. A connection without a request is closed after `idle_seconds`, one whose caller does
  not read its answer after `write_seconds`.
- At most 32 requests of a connection may wait for the answers to earlier ones (pipelining). Over it the connection is
  closed.
- A body comes in parts of 64 bytes or more on average, after its first thousand parts. Otherwise the answer is 400:
  each chunk costs time, however small it is.
- At most `connections` are open, fewer where the process may open few files. A new one replaces the one that waits
  longest for a request. Where none can be replaced the new one gets 503.
- Nothing is closed by time, or replaced, while something that came has not been read, nor right after the event loop
  stood still. A connection that is closed while it waits for a request gets a 408 first: whoever sends a
  request in that moment learns that it was not read (RFC 9110, section 15.5.9).
- An offer to upgrade (`Upgrade: h2c`, `websocket`, …) is ignored, as RFC 9110 section 7.8 allows, and the body is read.
- The authority of an absolute URL replaces the `Host` header (RFC 9112, section 3.2.2). Trailers are dropped.

One task checks all connections about once a second, so a request needs no timer of its own.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import termios
import uuid
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, Literal, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from waymark.contracts import Problem
from waymark.serving.middleware.connection_limits import Guard, Reason
from waymark.serving.middleware.one_write import OneWrite

_LINGER_SECONDS: Final = 3.0
"""Seconds for which further data of a refused caller are read and dropped, so that the refusal reaches it."""
_MAX_HEADERS: Final = 256
_FREE_PARTS: Final = 1_000
_PART_BYTES: Final = 64
"""Bytes that the parts of a body must have on average, after the first `_FREE_PARTS`."""
_MAX_PIPELINED: Final = 32
"""Requests of one connection that wait for the answers to earlier ones."""
REPLACEABLE_SECONDS: Final = 0.1
"""Seconds of silence after which a new caller may take a connection's place."""
_REPLACEABLE_BODY_SECONDS: Final = 2.0
_IDLE_GRACE: Final = 0.2
"""How much later than the idle limit the service closes an idle connection, as a share of that limit. A client whose
pool has the same limit then closes first."""
_NOT_READ: Final = "This connection is closed. A request that is on its way was not read: send it again."
_TOO_LATE: Final[Mapping[Reason, str]] = {
    "head_timeout": "The headers did not arrive in time. Send them faster.",
    "body_timeout": "The body did not arrive in time. Send it faster.",
    "idle": _NOT_READ,
}
ON_DISCONNECT: Final = "waymark.on_disconnect"
"""The extension of an ASGI scope whose `call` is `Connection.on_disconnect`."""
_UPGRADE_HEADERS: Final = frozenset({b"upgrade", b"http2-settings"})


class _TooManyPipelined(Exception):
    """Ends parsing at once."""


class _HeadTooLarge(Exception):
    """Ends parsing at once."""


class _BodyInPieces(Exception):
    """Ends parsing at once."""


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guard = guard or Guard()
        self._limits = self._guard.limits
        self._writer: OneWrite
        self._phase: Literal["idle", "head", "body", "dropping"] = "idle"
        self._since = 0.0
        """When the phase began, in the loop's time."""
        self._heard = 0.0
        """When something came last."""
        self._served = False
        """Whether a request was answered."""
        self._head_bytes = 0
        self._unread = 0
        """Bytes since the parser last made something of them."""
        self._body_bytes = self._body_parts = 0
        self._offered_upgrade = False
        self._buffered = 0
        self._buffered_since = 0.0
        self._stopping = False
        """Whether the service is stopping, so that the next answer is the last one."""
        self._lost = False
        self._call_when_lost: Callable[[], object] | None = None

    # --- connection ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own
        """Begin with a connection, or refuse it."""
        self._since = self._heard = now = self.loop.time()
        self._writer = OneWrite(transport, self.loop)
        has_room = self._guard.has_room(now)
        super().connection_made(cast("asyncio.Transport", self._writer))
        if has_room:
            self._guard.open.add(self)
            return
        self._guard.count("too_many")
        self._answer(503, "ServiceUnavailable", "Too many connections are open. Try again.", "retry-after: 1\r\n")
        if self._guard.can_linger(self):
            self._linger()
        else:
            self._drop()
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it, and tell the request that is being answered."""
        self._guard.forget(self)
        super().connection_lost(exc)
        self._lost = True
        if self._call_when_lost is not None:
            self._call_when_lost()
        # A scope refers to this connection (`ON_DISCONNECT`). Left in place, the two would keep each other in memory
        # until the garbage collector runs, which is seldom in a model service.
        self.cycle = self.scope = cast("Any", None)

    def on_disconnect(self, call: Callable[[], object] | None) -> None:
        """Call this function when the caller disconnects, or now if it already has; None removes it.

        It saves each request the task that would wait for ASGI's `http.disconnect`.
        """
        self._call_when_lost = call
        if self._lost and call is not None:
            call()

    def abort(self) -> None:
        """Close the connection without sending the remaining data."""
        self._guard.forget(self)
        self._writer.abort()

    def make_room(self) -> None:
        """Close it at once, since another connection needs its place."""
        begun = self._is_answering and self.cycle.response_started
        if self._phase == "dropping" or begun or self._writer.get_write_buffer_size():
            self.abort()
            return
        self._guard.forget(self)
        self._answer(408, "RequestTimeout", _NOT_READ)
        self._drop()
        self.transport.close()

    def shutdown(self) -> None:
        """Close the connection after the requests that have arrived are answered, because the service stops."""
        self._stopping = True
        if self._is_answering:
            self.cycle.keep_alive = False
        elif self._phase in ("dropping", "body"):  # no answer is left to send
            self.transport.close()
        elif not self.has_unread():
            self._answer(408, "RequestTimeout", _NOT_READ)
            self._drop()
            self.transport.close()

    def has_unread(self) -> bool:
        """Whether the socket holds bytes that the event loop has not read yet."""
        unread = array.array("i", [0])
        with contextlib.suppress(OSError, AttributeError):  # closed, or not a socket
            fcntl.ioctl(self._writer.get_extra_info("socket").fileno(), termios.FIONREAD, unread)
        return unread[0] > 0

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._phase == "dropping":
            return
        self._heard = self.loop.time()
        self._unread += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _HeadTooLarge):
                self._refuse_head()
                return
            if isinstance(error.__context__, _BodyInPieces):
                self._refuse_pieces()
                return
            if isinstance(error.__context__, _TooManyPipelined):
                self._guard.count("pipelining")
                self._drop()
                self.transport.close()
                return
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._unread > self._limits.head_bytes:  # of one header, a chunk's extension or trailers
            self._refuse_head()

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # The parser takes the rest for another protocol. Another parser reads the same head without the offer.
                data = b"".join([*self._head_without_upgrade(), data[upgrade.args[0] :]])
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
                self._offered_upgrade = False
                continue
            return

    def _head_without_upgrade(self) -> Iterator[bytes]:
        method = self.parser.get_method()
        yield b"%b %b HTTP/%b\r\n" % (method, self.url, self.parser.get_http_version().encode())
        for name, value in self.headers:
            if name == b"connection":
                kept = [protocol for protocol in value.split(b",") if protocol.strip().lower() not in _UPGRADE_HEADERS]
                if kept:
                    yield b"connection: %b\r\n" % b",".join(kept).strip()
            elif name not in _UPGRADE_HEADERS:
                yield b"%b: %b\r\n" % (name, value)
        yield b"\r\n"

    # --- what the parser found ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise _TooManyPipelined
        self._phase, self._since, self._head_bytes = "head", self._heard, 0
        super().on_message_begin()
        self.scope["extensions"] = {ON_DISCONNECT: {"call": self.on_disconnect}}

    def on_url(self, url: bytes) -> None:
        """A part of its URL."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if self._phase == "head":  # else it is a trailer, which nobody has asked for
            self._count_head(len(name) + len(value) + 4)
            if len(self.headers) >= _MAX_HEADERS:
                raise _HeadTooLarge
            super().on_header(name, value)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes:
            raise _HeadTooLarge

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("no tunnels here")
            self._offered_upgrade = True
            return
        if not self.url.startswith(b"/"):
            self._take_host_of_url()
        super().on_headers_complete()
        self.cycle.keep_alive = self.cycle.keep_alive and not self._stopping
        self._phase, self._since, self._unread = "body", self._heard, 0
        self._body_bytes = self._body_parts = 0

    def _take_host_of_url(self) -> None:
        url: Any = httptools.parse_url(self.url)
        if url.host:
            host = b"[%b]" % url.host if b":" in url.host else url.host
            host = host if url.port is None else b"%b:%d" % (host, url.port)
            self.headers[:] = [header for header in self.headers if header[0] != b"host"]
            self.headers.append((b"host", host))

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_bytes += len(body)
        self._body_parts += 1
        self._unread = 0
        if self._body_parts > _FREE_PARTS + self._body_bytes // _PART_BYTES:
            raise _BodyInPieces
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if not self._offered_upgrade:
            self._phase, self._since, self._unread = "idle", self._heard, 0
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Send an answer that is whole: the next round of a busy event loop is many milliseconds away."""
        self._writer.flush()
        self._served = True
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._since = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    # --- time ---------------------------------------------------------------------------------------------------------

    @property
    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, which uvicorn does not say
        return cycle is not None and not cycle.response_complete

    def waits_since(self, now: float) -> float | None:
        """The time since when it waits for a request or for the rest of one; None while it must not be replaced."""
        if self._phase == "dropping":
            return self._since
        if self._phase == "body":
            return self._since if now - self._since > _REPLACEABLE_BODY_SECONDS else None
        return None if self._is_answering or now - self._since < REPLACEABLE_SECONDS else self._since

    def check(self, now: float) -> bool:
        """Close the connection if it is over one of its time limits. Returns whether it was."""
        if self._phase == "dropping":
            if now - self._since <= _LINGER_SECONDS:
                return False
            self.abort()
        elif self._is_stuck(now):
            self._guard.count("not_reading")
            self.abort()
        elif not self.transport.is_closing() and (reason := self._overdue(now)) and not self.has_unread():
            self._time_out(reason)
        else:
            return False
        return True

    def _overdue(self, now: float) -> Reason | None:
        limits = self._limits
        if self._phase == "body":
            if self.flow.read_paused:  # the service is not ready for more
                self._since = self._heard = now
                self._body_bytes = 0
            slow = now - self._since > limits.body_seconds + self._body_bytes / limits.body_rate
            return "body_timeout" if slow or now - self._heard > limits.body_seconds else None
        if self._is_answering:
            return None
        if self._phase == "head":
            return "head_timeout" if now - self._since > limits.head_seconds else None
        kept = limits.idle_seconds * (1 + _IDLE_GRACE) if self._served else limits.head_seconds
        return "idle" if now - self._since > kept else None

    def _is_stuck(self, now: float) -> bool:
        """Whether the caller has read nothing of what is to be sent for too long."""
        buffered = self._writer.get_write_buffer_size()
        if buffered != self._buffered or not buffered:
            self._buffered, self._buffered_since = buffered, now
        return now - self._buffered_since > self._limits.write_seconds

    def _time_out(self, reason: Reason) -> None:
        self._guard.count(reason)
        # An answer that has begun or is complete cannot be replaced by an error.
        if self._phase != "body" or (self._is_answering and not self.cycle.response_started):
            self._answer(408, "RequestTimeout", _TOO_LATE[reason])
        if self._phase != "body":
            self._linger()
            return
        self._drop()  # closing tells the route that waits for the body
        self.transport.close()

    # --- refusals -----------------------------------------------------------------------------------------------------

    def _refuse_head(self) -> None:
        self._guard.count("head_too_large")
        if self._is_answering:  # an answer may have begun
            self._drop()
            self.transport.close()
            return
        limit = self._limits.head_bytes
        self._answer(
            431,
            "HeadTooLarge",
            f"URL and headers are over the limit of {limit} bytes or {_MAX_HEADERS} headers. Send less of them.",
        )
        self._linger()

    def _refuse_pieces(self) -> None:
        self._guard.count("body_in_pieces")
        if self._is_answering and not self.cycle.response_started:
            self._answer(
                400,
                "BodyInPieces",
                f"The body comes in parts of less than {_PART_BYTES} bytes. Send larger chunks, or a Content-Length.",
            )
        self._linger()

    def _linger(self) -> None:
        """Send nothing more, and close when the caller does, or after `_LINGER_SECONDS`.

        If it were closed at once, a caller that still sends would get a reset before it could read the refusal.
        """
        self._drop()
        self._since = self.loop.time()
        with contextlib.suppress(OSError, NotImplementedError):
            self._writer.write_eof()

    def _answer(self, status: int, kind: str, detail: str, headers: str = "") -> None:
        words = {
            "HeadTooLarge": "head too large",
            "RequestTimeout": "request timeout",
            "BodyInPieces": "body in pieces",
        }.get(kind, "service unavailable")
        problem = Problem(
            type="urn:waymark:" + words.replace(" ", "-"),
            title=words.capitalize(),
            status=status,
            detail=detail,
            request_id=uuid.uuid4().hex,
        )
        content = problem.model_dump_json()
        self._writer.write(
            (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/problem+json\r\n"
                f"content-length: {len(content)}\r\nx-request-id: {problem.request_id}\r\n{headers}"
                f"connection: close\r\n\r\n{content}"
            ).encode()
        )
        self._writer.flush()

    def _drop(self) -> None:
        """Read nothing more, and free what was read."""
        self._phase = "dropping"
        self.parser = None  # type: ignore[assignment]  # as uvicorn does when a connection is lost
        self.url, self.headers = b"", []
        self.pipeline.clear()
        self.flow.resume_reading()
