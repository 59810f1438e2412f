"""The dashboard's files in process: how they are served, and what may be in them. A browser tries them in tests/e2e."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from services.env_runner import dashboard_files
from services.env_runner.app import create_app
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.settings import Settings
from tests.samples import result
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import EpisodeError, EpisodeResult
from waymark.evaluation.published_comparison import beside_published, published_methods
from waymark.evaluation.scores import summarise
from waymark.worlds.registry import get_world

pytestmark = pytest.mark.anyio

FILES = sorted(dashboard_files.WEB.iterdir())
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SVG_NAMESPACE = "http://www.w3.org/2000/svg"


@asynccontextmanager
async def serving(*, api_keys: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """An env-runner whose Redis is gone: the page is there all the same."""
    app = create_app(
        Settings(environment="scripted", api_keys=SecretStr(api_keys)),
        JobStore("unix:///nowhere"),
        ControllerClient("http://controller"),
        ExecutorClient("http://executor"),
        Provenance("scripted", None),
    )
    async with httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(app)) as http:
        yield http


async def test_the_page_and_its_files_are_served() -> None:
    async with serving() as http:
        page = await http.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        linked = re.findall(r'(?:src|href)="(web/[^"]+)"', page.text)
        assert {"web/app.js", "web/style.css", "web/icon.svg"} <= set(linked)
        for file in FILES:
            answer = await http.get(f"/web/{file.name}")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith(TYPES[file.suffix])
            assert answer.content == file.read_bytes()


@pytest.mark.parametrize("path", sorted(dashboard_files.paths()))
async def test_every_file_forbids_what_it_does_not_need(path: str) -> None:
    async with serving() as http:
        headers = (await http.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_file_that_a_browser_has_is_not_sent_again() -> None:
    async with serving() as http:
        first = await http.get("/web/app.js")
        again = await http.get("/web/app.js", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["content-security-policy"] == first.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/web/nothing.js", "/web/", "/web/..%2fapp.py", "/web/%2e%2e%2fapp.py"])
async def test_no_other_file_of_the_dashboard_folder_is_served(path: str) -> None:
    async with serving() as http:
        answer = await http.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_the_page_needs_no_key_and_the_interface_does() -> None:
    async with serving(api_keys="secret") as http:
        for path in dashboard_files.paths():
            assert (await http.get(path)).status_code == 200
        for path in (
            "/v1/evaluations",
            "/info",
            "/metrics",
            "/web",
            "/web/",
            "/web/%2e%2e/v1/evaluations",
            "/web/nothing.js",
        ):
            assert (await http.get(path)).status_code == 401, path
        assert (await http.get("/info", headers={"Authorization": "Bearer secret"})).status_code == 200


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_file_loads_from_another_host_or_writes_markup(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:|wss?:|['\"(])//[^\s'\"]+", text.replace(SVG_NAMESPACE, ""))
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|javascript:"
    assert not re.findall(markup, text)
    if file.suffix == ".html":
        assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]* src=)", text)


def test_every_import_of_a_module_is_one_of_the_files() -> None:
    for file in FILES:
        if file.suffix == ".js":
            imported = re.findall(r'from "\./([^"]+)"', file.read_text(encoding="utf-8"))
            assert set(imported) <= {script.name for script in FILES}, file.name


# --- the figures that it shows --------------------------------------------------------------------------------------


def played() -> list[EpisodeResult]:
    error = EpisodeError(kind="EnvironmentFault", message="It hung.")
    return [
        result("a", task="4-1", score=100),
        result("b", task="4-2", score=40),
        result("c", task="1-1", score=0, error=error),
    ]


def test_published_figures_stand_beside_the_task_types_that_were_played() -> None:
    figures = beside_published("one", summarise(played()))
    published = get_world("scienceworld").published.tasks
    assert figures.published.methods == tuple(get_world("scienceworld").published.columns)
    assert figures.published.tasks == {task: published[task] for task in ("1-1", "4-1", "4-2")}
    for method in figures.published.methods:
        short = (published["4-1"][method] + published["4-2"][method]) / 2
        assert figures.published.groups["short"][method] == pytest.approx(short)
        assert figures.published.groups["long"][method] == published["1-1"][method]
        assert figures.published.overall[method] == pytest.approx((2 * short + published["1-1"][method]) / 3)
    assert figures.methods == published_methods()


def test_without_results_nothing_is_compared() -> None:
    figures = beside_published("one", summarise([]))
    assert (figures.published.tasks, figures.published.groups, figures.published.overall) == ({}, {}, {})
