"""What callers choose cannot forge a line of the log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import pytest

from tests.serving import STATE, asking, captured_log, says

pytestmark = pytest.mark.anyio

FORGED = "2026-01-01 00:00:00,000 INFO waymark.access: GET /admin 200 in 1.0 ms"
BREAKS = ["\n", "\r", "\x0b", "\x1b[2J", "\x85", "\u2028", "\u202e", "\x9b31m"]


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is logged in one form or the other."""
    with captured_log(request.param) as log:
        yield log


def lines(log: io.StringIO) -> list[str]:
    """The lines, and for documents all of their texts, as a terminal would show them."""
    output = log.getvalue()
    assert all(line.isprintable() for line in output.removesuffix("\n").split("\n"))
    documents = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    for document in documents:
        assert all(
            text.isprintable() for name, text in document.items() if isinstance(text, str) and name != "exc_info"
        )
    return output.splitlines()


@pytest.mark.parametrize("character", BREAKS)
async def test_a_path_makes_one_line_of_the_log(log: io.StringIO, character: str) -> None:
    async with asking("executor", default=says("look around")) as client:
        await client.get(quote(f"/x{character}{FORGED}"))
        await client.get("/v1/models/" + quote(f"{character}{FORGED}", safe=""))
    assert len(lines(log)) == 2
    assert character not in log.getvalue().replace("\n", "", 2)


@pytest.mark.parametrize("character", BREAKS)
async def test_a_model_or_a_request_id_makes_no_line(log: io.StringIO, character: str) -> None:
    async with asking("executor", default=says("look around")) as client:
        await client.post("/v1/action", json={"state": STATE, "model": f"x{character}{FORGED}"})
        await client.get("/info", headers={"x-request-id": "mine\t2026", "user-agent": f"a {FORGED}"})
    assert len(lines(log)) == 2


async def test_a_traceback_cannot_begin_a_line_as_a_record_does(log: io.StringIO) -> None:
    def broken(_: str) -> Sequence[tuple[str, float]]:
        raise RuntimeError(f"about\n{FORGED}")

    async with asking("executor", default=broken) as client:
        await client.post("/v1/action", json={"state": STATE})
    assert not any(line.startswith("2026-01-01") for line in lines(log))


async def test_a_long_path_is_cut_in_the_log(log: io.StringIO) -> None:
    async with asking("executor", default=says("look around")) as client:
        await client.get("/" + "x" * 50_000)
    assert len(log.getvalue()) < 2_000


def test_every_logger_is_escaped(log: io.StringIO) -> None:
    logging.getLogger("waymark").error("Cannot open %s", f"file\n{FORGED}")
    assert len(lines(log)) == 1
