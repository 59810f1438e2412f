"""Which host names and pages may ask a service, and paths that end in a slash."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from services.env_runner.settings import Settings as RunnerSettings
from tests.service.test_connections import answers
from tests.serving import JSON, STATE, asking, connected, problem, says, served, service_app
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.middleware.hosts import allowed_hosts
from waymark.serving.settings import ListenSettings, ServiceSettings, read

pytestmark = pytest.mark.anyio

PATHS = ["/health/live", "/info", "/metrics", "/openapi.json", "/docs", "/v1/models", "/nope", "/"]
LOCAL = ["localhost", "localhost:8002", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.1:80", "127.1.2.3", "[::1]:9"]
FOREIGN = [
    "evil.example",
    "evil.example:8002",
    "localhost.evil.example",
    "evil.example.localhost",
    "127.0.0.1.evil.example",
    "localhost@evil.example",
    "localhost:80@evil.example",
    "[::1].evil.example",
    "10.0.0.1",
    "localhost, evil.example",
    "",
]


async def ask(settings: ServiceSettings, method: str, path: str, **sent: Any) -> httpx.Response:
    async with asking("executor", settings, default=says("look around")) as client:
        return await client.request(method, path, **sent)


@pytest.mark.parametrize("host", FOREIGN)
async def test_a_foreign_host_name_is_refused_on_every_path(host: str) -> None:
    async with asking("executor", default=says("look around")) as client:
        for path in PATHS:
            assert (await client.get(path, headers={"host": host})).status_code == 421
        refusal = problem(
            await client.post("/v1/action", json={"state": STATE}, headers={"host": host}), 421, "host-refused"
        )
        assert "WAYMARK_ALLOWED_HOSTS" in refusal.detail
        for path in ("/v1/completions", "/mcp"):
            assert (await client.post(path, json={}, headers={"host": host})).status_code == 421


@pytest.mark.parametrize("host", LOCAL)
async def test_names_of_this_machine_are_answered(host: str) -> None:
    response = await ask(ServiceSettings(), "POST", "/v1/action", json={"state": STATE}, headers={"host": host})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1:8000", 200),
        ("https://localhost", 200),
        ("http://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://localhost/evil.example", 403),
        ("null", 403),
        ("file://", 403),
    ],
)
async def test_pages_of_other_hosts_may_not_ask(origin: str, status: int) -> None:
    headers = {"origin": origin}
    response = await ask(ServiceSettings(), "POST", "/v1/action", json={"state": STATE}, headers=headers)
    assert response.status_code == status
    assert (await ask(ServiceSettings(), "GET", "/info", headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        ({}, frozenset()),
        ({"host": "::1"}, frozenset()),
        ({"api_keys": SecretStr("key")}, None),
        ({"host": "0.0.0.0", "allow_remote": True}, None),
        ({"host": "0.0.0.0", "allow_remote": True, "allowed_hosts": ("controller",)}, frozenset({"controller"})),
        ({"api_keys": SecretStr("key"), "allowed_hosts": ("a.example",)}, frozenset({"a.example"})),
    ],
)
def test_host_names_are_checked_on_loopback_without_keys(
    settings: dict[str, Any], hosts: frozenset[str] | None
) -> None:
    assert allowed_hosts(ListenSettings(**settings)) == hosts


async def test_an_allowed_host_is_answered_beside_this_machine() -> None:
    settings = ServiceSettings(allowed_hosts=("controller",))
    for host, status in [("controller:8001", 200), ("localhost", 200), ("executor", 421)]:
        assert (await ask(settings, "GET", "/info", headers={"host": host})).status_code == status
    origin = {"host": "controller", "origin": "https://controller"}
    assert (await ask(settings, "GET", "/info", headers=origin)).status_code == 200


@pytest.mark.parametrize("kind", [ServiceSettings, RunnerSettings])
def test_allowed_hosts_are_read_between_commas(
    monkeypatch: pytest.MonkeyPatch, kind: type[ServiceSettings] | type[RunnerSettings]
) -> None:
    monkeypatch.setenv("WAYMARK_ALLOWED_HOSTS", "Controller, api.example.org ,[fd00::1]")
    assert read(kind).allowed_hosts == ("controller", "api.example.org", "[fd00::1]")
    for wrong in ("http://controller", "controller:8001", "*"):
        monkeypatch.setenv("WAYMARK_ALLOWED_HOSTS", wrong)
        with pytest.raises((ValidationError, ValueError, Exception), match="no host name"):
            read(kind)


@pytest.mark.parametrize(
    ("request_line", "host", "status"),
    [
        (b"GET http://evil.example/info HTTP/1.1", b"Host: localhost\r\n", 421),
        (b"GET http://evil.example:80/info HTTP/1.1", b"Host: 127.0.0.1\r\n", 421),
        (b"GET http://localhost:1234/info HTTP/1.1", b"Host: evil.example\r\n", 200),
        (b"GET http://[::1]:1234/info HTTP/1.1", b"Host: localhost\r\n", 200),
        (b"GET /info HTTP/1.1", b"", 421),
        (b"GET /info HTTP/1.0", b"Connection: keep-alive\r\n", 421),
        (b"GET /info HTTP/1.1", b"Host: localhost\r\nHost: evil.example\r\n", 421),
        (b"GET /info HTTP/1.1", b"Host: localhost\r\n", 200),
    ],
)
def test_the_host_of_an_absolute_url_counts(request_line: bytes, host: bytes, status: int) -> None:
    with served(service_app("executor", default=ScriptedGenerator(says("x")))) as url, connected(url) as wire:
        wire.sendall(request_line + b"\r\n" + host + b"\r\n")
        assert answers(wire)[0][0] == status


async def test_a_path_with_a_slash_at_its_end_is_answered() -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"accept": "application/json, text/event-stream"}
    async with asking("executor", default=says("look around")) as client:
        for path in ("/health/live/", "/info/", "/metrics/", "/v1/models/", "/v1/models/default/"):
            assert (await client.get(path)).status_code == 200
        assert (await client.post("/v1/action/", content=json.dumps({"state": STATE}), headers=JSON)).status_code == 200
        assert (await client.post("/mcp/", json=call, headers=accept)).status_code == 200
        problem(await client.get("/nope/"), 404, "not-found")
        problem(await client.get("/v1/action/"), 405, "method-not-allowed")


async def test_a_slash_opens_no_path_that_asks_for_a_key() -> None:
    settings = ServiceSettings(api_keys=SecretStr("key"))
    for path in ("/info/", "/metrics/", "//info", "/health/../info/"):
        assert (await ask(settings, "GET", path)).status_code in (401, 404)
