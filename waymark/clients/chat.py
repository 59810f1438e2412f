"""A chat model behind an OpenAI-compatible endpoint (`POST /chat/completions`), asked once for each conversation.

A request that meets a busy, failing or silent endpoint is tried again, after a growing pause with jitter or after as
long as the endpoint asks for in `Retry-After`.

It does not support streaming, tools, images and prices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, TypedDict

import anyio
import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from waymark.clients import answer_limits
from waymark.clients.addresses import is_loopback, shown
from waymark.clients.api_key import check_key
from waymark.clients.proxies import named_proxies, open_client
from waymark.clients.read_answer import read
from waymark.errors import (
    DeadlineExceeded,
    EndpointUnusable,
    InvalidInput,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState  # imported where it is used: it comes with the extra `env` alone

LONGEST_PAUSE: Final = 600.0
"""Seconds. An endpoint that asks for a longer one is not asked again in this run."""
_LONGEST_BACK_OFF: Final = 60.0
"""Seconds. Our own pauses grow up to this."""
_CONNECT_SECONDS: Final = 10.0
_UNUSABLE: Final = {401: "the key", 402: "the account", 403: "the key", 404: "the address or the model"}
_TRY_AGAIN: Final = frozenset({408, 425, 429})
LARGEST_ANSWER: Final = 8 * answer_limits.MEGABYTE
"""Bytes of one answer; a plan or an annotation has some thousands."""
_SHOWN: Final = 300
"""Characters of a foreign error text that a message quotes."""


class Message(TypedDict):
    """One turn of a conversation, as the chat protocol has it."""

    role: Literal["system", "user", "assistant"]
    content: str


def as_json(messages: Iterable[Message]) -> list[JsonValue]:
    """A conversation as it stands in a request."""
    return [{"role": message["role"], "content": message["content"]} for message in messages]


@dataclass(frozen=True)
class Endpoint:
    """Where the model is and how it is asked. `url` is the base address, mostly ending in `/v1`.

    `parameters` are further fields of each request's body, such as temperature and max_tokens. Raises InvalidInput.
    """

    url: str = field(repr=False)
    model: str
    key: str = field(default="", repr=False)
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    settings: str = "WAYMARK_LLM"
    """Prefix of its variables, for messages: `WAYMARK_LLM` in `WAYMARK_LLM_URL`."""
    options: bool = False
    """Whether the command also has options for address and model, `--url` and `--model`."""

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise InvalidInput(
                f"{shown(self.url)!r} is no address.", remedy=f"Check {self.setting('url')}.", field="url"
            ) from error
        if url.scheme not in ("http", "https") or not url.host:
            raise InvalidInput(
                f"{shown(self.url)!r} is no address of a chat endpoint.",
                remedy=f"Set {self.setting('url')} to its base, e.g. http://127.0.0.1:8000/v1.",
                field="url",
            )
        if not self.model:
            raise InvalidInput("No model is named.", remedy=f"Set {self.setting('model')}.", field="model")
        object.__setattr__(self, "key", check_key(self.key, f"{self.settings}_KEY"))

    def setting(self, name: Literal["url", "model"]) -> str:
        """Where the user sets the address or the model, for messages."""
        variable = f"{self.settings}_{name.upper()}"
        return f"--{name} ({variable})" if self.options else variable

    @property
    def address(self) -> str:
        """The base address as it may be shown: without a user, a password or a query."""
        url = httpx.URL(self.url)
        return str(url.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")


@dataclass(frozen=True)
class Limits:
    """Limits of the requests to an endpoint."""

    concurrency: int = 4
    """Largest number of concurrent requests."""
    attempts: int = 6
    """Attempts for one request, including the first."""
    timeout: float = 300.0
    """Seconds for one try."""
    first_pause: float = 1.0
    """Seconds before the second try, at most; each further pause may be twice as long."""


class Answer(BaseModel):
    """The model's answer to one request."""

    model_config = ConfigDict(frozen=True)

    text: str
    finish_reason: str | None = None
    """`stop`, or why the answer ended early: `length`, `content_filter`."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ChatClient:
    """One model behind one endpoint. A context. The connection is set up at the first question, not before.

    `transport` replaces the network; `retried` is told of every try beyond the first of a request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Limits | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        retried: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self.limits = limits or Limits()
        self._retried = retried
        base = httpx.URL(endpoint.url)
        self._url = base.copy_with(path=base.path.rstrip("/") + "/chat/completions")
        self._free = anyio.CapacityLimiter(self.limits.concurrency)
        self._transport = transport
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.aclose()

    def request(self, messages: Iterable[Message]) -> dict[str, JsonValue]:
        """What is sent to ask for the answer to a conversation."""
        return {"model": self.endpoint.model, **self.endpoint.parameters, "messages": as_json(messages)}

    async def ask(self, messages: Sequence[Message]) -> Answer:
        """The answer to a conversation.

        Raises EndpointUnusable if no request can succeed, else ServiceRejected, ServiceUnavailable or
        DeadlineExceeded for this one.
        """
        request = self.request(messages)
        async with self._free:
            return await self._persist(request)

    async def _persist(self, request: dict[str, JsonValue]) -> Answer:
        """Try until there is an answer, or no try is left."""
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_Again),
                stop=stop_after_attempt(self.limits.attempts),
                wait=self._pause,
                before_sleep=lambda _: self._retried(),
                reraise=True,
            ):
                with attempt:
                    return await self._try(request)
        except _Again as last:
            raise last.error from last
        raise AssertionError("tenacity ends with an answer or an error")

    async def _try(self, request: dict[str, JsonValue]) -> Answer:
        where = self.endpoint.address
        http = self._http = self._http or self._open()
        try:
            with anyio.fail_after(self.limits.timeout):  # in all: httpx bounds only the pauses of an answer
                sent = await http.send(http.build_request("POST", self._url, json=request), stream=True)
                response = await read(sent, LARGEST_ANSWER)
        except answer_limits.AnswerRefused as error:
            raise ServiceRejected(
                f"{where} sends {error}.", remedy="Check that the address is that of a chat endpoint."
            ) from error
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout) as error:
            late = DeadlineExceeded(
                f"{where} did not answer within {self.limits.timeout:g} seconds.", remedy="Allow more time."
            )
            raise _Again(late) from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            absent = EndpointUnusable(
                f"{where} cannot be reached: {error}.",
                remedy=f"Check {self.endpoint.setting('url')}{_proxy_hint(where)}.",
            )
            raise _Again(absent) from error
        except httpx.ProxyError as error:
            refused = EndpointUnusable(
                f"The proxy before {where} refuses: {error}.", remedy=f"Check {named_proxies()}, or unset it."
            )
            raise _Again(refused) from error
        except httpx.TransportError as error:
            broken = ServiceUnavailable(f"{where} closed the connection before the end of its answer: {error!r}.")
            raise _Again(broken) from error
        if response.is_success:
            return self._read(response)
        raise self._failure(response)

    def _open(self) -> httpx.AsyncClient:
        headers = {"accept-encoding": "identity"}
        if self.endpoint.key:
            headers["authorization"] = f"Bearer {self.endpoint.key}"
        timeout = httpx.Timeout(self.limits.timeout, connect=_CONNECT_SECONDS)
        return open_client(self.endpoint.url, headers=headers, timeout=timeout, transport=self._transport)

    def _read(self, response: httpx.Response) -> Answer:
        try:
            completion = _Completion.model_validate_json(response.content)
        except ValidationError as error:
            strange = f"{self.endpoint.address} answered with no chat completion: {self._quoted(response)}"
            raise _Again(ServiceUnavailable(strange)) from error
        choice, usage = completion.choices[0], completion.usage or _Usage()
        return Answer(
            text=choice.message.content or "",
            finish_reason=choice.finish_reason,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )

    def _failure(self, response: httpx.Response) -> Exception:
        """What a status means: try again, give this request up, or give all of them up."""
        status = response.status_code
        message = f"{self.endpoint.address} answered {status}: {self._quoted(response)}"
        if status in _UNUSABLE:
            return EndpointUnusable(message, remedy=f"Check {_UNUSABLE[status]}.")
        if status in _TRY_AGAIN or status >= 500:
            pause = _retry_after(response.headers.get("retry-after", ""))
            if pause is not None and pause > LONGEST_PAUSE:
                return ServiceUnavailable(message, remedy=f"It asks to retry after {pause:.0f} seconds.")
            return _Again(ServiceUnavailable(message), pause)
        return ServiceRejected(message)

    def _quoted(self, response: httpx.Response) -> str:
        """The beginning of a foreign text, on one line, without our key."""
        text = " ".join(response.text.split())
        return (text.replace(self.endpoint.key, "…") if self.endpoint.key else text)[:_SHOWN]

    def _pause(self, state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        if isinstance(failure, _Again) and failure.pause is not None:
            return failure.pause
        from tenacity import wait_random_exponential

        return float(wait_random_exponential(multiplier=self.limits.first_pause, max=_LONGEST_BACK_OFF)(state))


class _Again(Exception):
    """One try failed in a way that another may not; `pause` is how many seconds the endpoint asks to wait."""

    def __init__(self, error: ServiceError, pause: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause = pause


class _Text(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Text
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(BaseModel):
    """The part of a chat completion that is read."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def _proxy_hint(address: str) -> str:
    """Which proxies an address may be reached through, to be added to what has to be checked."""
    return f" and {named_proxies()}" if named_proxies() and not is_loopback(address) else ""


def _retry_after(text: str) -> float | None:
    """Seconds to wait, from a number or a date (RFC 9110, 10.2.3); None if the header is neither."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
