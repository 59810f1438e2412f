"""The page at /docs: our own files, no key, nothing from elsewhere."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from services.env_runner.app import create_app as create_runner
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.settings import Settings
from tests.serving import service_app
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio
KEYS = SecretStr("key")


@pytest.fixture(params=["controller", "executor", "env-runner"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> FastAPI:
    """Each service, which asks for a key."""
    if request.param != "env-runner":
        generator = ScriptedGenerator(lambda _: [("x", -1.0)])
        return service_app(request.param, ServiceSettings(api_keys=KEYS), default=generator)
    clients = ControllerClient("http://controller"), ExecutorClient("http://executor")
    settings = Settings(environment="scripted", runs=tmp_path, api_keys=KEYS)
    return create_runner(settings, JobStore("redis://127.0.0.1:1"), *clients, Provenance("scripted", None))


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def test_the_page_and_all_it_loads_need_no_key(app: FastAPI) -> None:
    async with client(app) as http:
        page = await http.get("/docs")
        named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        script = await http.get("/docs/start.js")
        loaded = [await http.get(path) for path in [*named, *re.findall(r'url: "([^"]+)"', script.text)]]
        assert (await http.get("/info")).status_code == 401
    assert page.status_code == 200
    assert len(named) == 5
    assert all(path.startswith("/") and not path.startswith("//") for path in named)
    assert {answer.status_code for answer in loaded} == {200}
    assert loaded[-1].json()["info"]["title"].startswith("Waymark ")


async def test_the_document_is_derived_beside_the_event_loop(app: FastAPI) -> None:
    derive, threads = app.openapi, []

    def noted() -> dict[str, Any]:
        threads.append(threading.current_thread())
        return derive()

    app.openapi = noted  # type: ignore[method-assign]
    async with client(app) as http:
        assert (await http.get("/openapi.json")).json()["openapi"].startswith("3.")
    assert threads
    assert threading.main_thread() not in threads


async def test_the_page_takes_nothing_from_another_host(app: FastAPI) -> None:
    async with client(app) as http:
        for path in ("/docs", "/docs/", "/redoc", "/docs/start.js"):
            answer = await http.get(path)
            assert answer.status_code == 200
            assert "://" not in answer.text
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'self'; ")
            assert "http" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
        head = await http.head("/docs")
        assert (head.status_code, head.content) == (200, b"")


async def test_no_other_file_is_given_out(app: FastAPI) -> None:
    headers = {"authorization": "Bearer key"}
    async with client(app) as http:
        for path in ("/docs/README.md", "/docs/..%2fdocs.py", "/docs/%2e%2e/docs.py", "/docs/oauth2-redirect"):
            assert (await http.get(path)).status_code == 401
            assert (await http.get(path, headers=headers)).status_code == 404
