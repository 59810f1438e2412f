"""Proxies and certificates that a shell names: never for loopback, and one error of ours where they cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.commands import SCRIPTED, Command
from tests.hostile_server import HostileServer, at_once
from waymark.clients.aiohttp_transport import AiohttpTransport
from waymark.clients.chat import ChatClient, Endpoint, Limits
from waymark.clients.proxies import named_proxies
from waymark.clients.services import ExecutorClient, SyncExecutorClient
from waymark.errors import EndpointUnusable
from waymark.loadtest.send_requests import connect
from waymark.serving.telemetry import tracing

pytestmark = pytest.mark.anyio
DEAD = "http://127.0.0.1:1"
SOCKS = "socks5://me:hunter2@127.0.0.1:1"
EVERYWHERE = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), DEAD)
QUESTION = [{"role": "user", "content": "?"}]
COMPLETION = b'{"choices":[{"message":{"content":"yes"}}]}'
OUTSIDE = "http://planner.example/v1"


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Sets variables, and no other proxies."""
    for name in (*EVERYWHERE, "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)

    def set_variables(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


async def ask(url: str) -> str:
    """What an endpoint answers."""
    async with ChatClient(Endpoint(url, "large", "sk-hunter2"), Limits(attempts=1, timeout=5)) as client:
        return (await client.ask(QUESTION)).text  # type: ignore[arg-type]


@pytest.mark.parametrize("variables", [EVERYWHERE, {"ALL_PROXY": SOCKS}, {"HTTP_PROXY": "nonsense://["}])
async def test_loopback_is_never_reached_through_a_proxy(
    variables: dict[str, str], shell: Callable[[dict[str, str]], None]
) -> None:
    shell(variables)
    info = b'{"service": "executor", "version": "1", "checkpoints": []}'
    with HostileServer(at_once(COMPLETION)) as server:
        assert await ask(f"{server.url}/v1") == "yes"
        assert await ask(f"{server.url.replace('127.0.0.1', 'localhost')}/v1") == "yes"
    with HostileServer(at_once(info)) as server:
        for transport in (None, AiohttpTransport()):
            async with ExecutorClient(server.url, transport=transport) as client:
                assert await client.ready()
        with SyncExecutorClient(server.url) as plain:
            assert plain.ready()
        async with connect(key=None, timeout=5) as session, session.get(server.url) as response:
            assert response.ok


@pytest.mark.parametrize(
    ("variables", "url", "says"),
    [
        ({"ALL_PROXY": SOCKS}, OUTSIDE, "SOCKS"),
        ({"all_proxy": "socks5h://me:hun/ter2@host:1"}, OUTSIDE, "SOCKS|no address"),
        ({"HTTP_PROXY": "hunter2://host"}, OUTSIDE, "no address"),
        ({"HTTP_PROXY": "http://me:hunter2@host:port"}, OUTSIDE, "no address"),
        ({"HTTP_PROXY": "http://["}, OUTSIDE, "no address|HTTP_PROXY"),
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "https://planner.example/v1", "SSL_CERT_FILE=/nowhere/ca.pem"),
        ({"HTTP_PROXY": "http://me:hunter2@127.0.0.1:1"}, OUTSIDE, "HTTP_PROXY=http://127.0.0.1:1"),
    ],
)
async def test_a_variable_that_cannot_be_used_is_named(
    variables: dict[str, str], url: str, says: str, shell: Callable[[dict[str, str]], None]
) -> None:
    shell(variables)
    with pytest.raises(EndpointUnusable, match=says) as caught:
        await ask(url)
    assert "ter2" not in str(caught.value).replace("hunter2://host", "")
    assert caught.value.remedy


async def test_a_proxy_that_refuses_is_named(shell: Callable[[dict[str, str]], None]) -> None:
    with HostileServer(at_once(b"", status="407 Proxy Authentication Required")) as proxy:
        shell({"HTTPS_PROXY": proxy.url})
        with pytest.raises(EndpointUnusable, match=f"proxy .*HTTPS_PROXY={proxy.url}"):
            await ask("https://planner.example/v1")


@pytest.mark.parametrize("variables", [EVERYWHERE, {"ALL_PROXY": SOCKS, "SSL_CERT_FILE": "/nowhere"}])
def test_agents_without_planner_ignore_proxies(variables: dict[str, str], waymark: Callable[..., Command]) -> None:
    planner = {"WAYMARK_PLANNER_URL": OUTSIDE, "WAYMARK_PLANNER_MODEL": "large"}
    code, out, err = waymark("evaluate", *SCRIPTED, "--tasks", "4-2", settings=variables | planner).wait()
    assert code == 0, out + err


def test_an_agent_that_asks_the_planner_gets_one_error(waymark: Callable[..., Command]) -> None:
    settings = {"ALL_PROXY": SOCKS, "WAYMARK_PLANNER_URL": OUTSIDE, "WAYMARK_PLANNER_MODEL": "large"}
    command = waymark("evaluate", *SCRIPTED, "--tasks", "4-2", "--agent", "llm_plan", settings=settings)
    code, out, err = command.wait()
    assert code == 1, out + err
    assert "SOCKS" in (command.run.path / "episodes.jsonl").read_text()
    assert "Traceback" not in out + err
    assert "hunter2" not in out + err


@pytest.mark.parametrize(
    "variables",
    [{"ALL_PROXY": SOCKS}, {"HTTP_PROXY": "http://["}, {"OTEL_EXPORTER_OTLP_HEADERS": "hunter2 hunter2"}],
)
def test_spans_that_cannot_be_sent_are_one_line(
    variables: dict[str, str], shell: Callable[[dict[str, str]], None], caplog: pytest.LogCaptureFixture
) -> None:
    defaults = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.2.invalid:4318", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    shell(defaults | variables)
    with caplog.at_level(logging.WARNING):
        exporter = tracing._exporter("otlp", defaults | variables)
        for _ in range(2):
            exporter.export([])
    assert "hunter2" not in caplog.text
    assert "Traceback" not in caplog.text
    assert len([record for record in caplog.records if "Traces cannot be sent" in record.message]) <= 1


def test_proxies_are_shown_without_their_passwords() -> None:
    assert named_proxies({"HTTP_PROXY": "http://u:p/w@h:1", "no_proxy": "x"}) == "HTTP_PROXY=http://…, no_proxy=x"
