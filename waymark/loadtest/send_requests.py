"""Sends the requests of a load test: a few before it, then each with an id of its own."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
from pydantic import ValidationError

from waymark.clients.addresses import shown
from waymark.clients.aiohttp_transport import connections, read_answer
from waymark.clients.answer_limits import AnswerRefused
from waymark.clients.api_key import check_key
from waymark.contracts import Problem
from waymark.errors import ServiceRejected, ServiceUnavailable
from waymark.loadtest.load_loops import Outcome, Send
from waymark.loadtest.load_report import REFUSALS, Target

_JSON = {"Content-Type": "application/json"}


_PROBES = 4


def connect(*, key: str | None, timeout: float) -> aiohttp.ClientSession:
    """A pool of connections that gives each request `timeout` seconds, the wait for a connection included."""
    return aiohttp.ClientSession(
        connector=connections(),
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers={"Authorization": f"Bearer {check_key(key, 'key')}"} if key else None,
        auto_decompress=False,  # `read_answer` does it, within a limit
        skip_auto_headers=("Accept-Encoding",),
    )


async def probe(session: aiohttp.ClientSession, target: Target, bodies: Sequence[bytes]) -> None:
    """Send a few requests before the test. Raises ServiceRejected if they would never be answered."""
    for body in bodies[:_PROBES]:
        try:
            async with session.post(target.url + target.path, data=body, headers=_JSON) as response:
                text = (await read_answer(response)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, AnswerRefused) as error:
            raise ServiceUnavailable(
                f"{shown(target.url)}{target.path} does not answer: {str(error) or type(error).__name__}.",
                remedy="Read the service's log.",
            ) from error
        if not (response.ok or response.status in REFUSALS):
            raise ServiceRejected(f"{shown(target.url)}{target.path} answers {response.status}: {_reason(text)}")


def sender(session: aiohttp.ClientSession, target: Target, bodies: Sequence[bytes], *, run: str) -> Send:
    """A function that sends request number k under the id `RUN-k` and returns its outcome."""
    url = target.url + target.path
    ours = target.service != "openai"

    async def send(number: int) -> Outcome:
        request_id = f"{run}-{number}"
        headers = {**_JSON, "X-Request-ID": request_id}
        try:
            async with session.post(url, data=bodies[number % len(bodies)], headers=headers) as response:
                await read_answer(response)
        except TimeoutError:
            return "timeout"
        except (aiohttp.ClientError, OSError, AnswerRefused) as error:
            return type(error).__name__
        if ours and response.headers.get("X-Request-ID") != request_id:
            return "another request's answer"
        return response.status

    return send


def _reason(text: str) -> str:
    try:
        return Problem.model_validate_json(text).detail
    except ValidationError:
        return text[:200] or "no reason given."
