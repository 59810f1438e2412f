"""The stack and the browser that the tests of a module share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from services.env_runner.queue import JobStore
from tests.browser import FLAGS, KEY, Page, Runner
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.cli.local_stack import Stack, StackOptions
from waymark.clients.services import SyncEvaluationClient
from waymark.contracts import EvaluationRequest


@pytest.fixture(scope="module")
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    if not request.config.getoption("--browser"):
        pytest.skip("needs --browser")
    with pytest.MonkeyPatch.context() as settings, EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        settings.setenv("WAYMARK_REDIS_URL", redis.url)
        settings.setenv("WAYMARK_API_KEYS", KEY)
        settings.setenv("WAYMARK_API_KEY", KEY)
        runs = tmp_path_factory.mktemp("runs")
        store = JobStore(redis.url)
        with Stack(StackOptions(runs=runs, engine="scripted", environment="scripted", slots=1)) as stack:
            url = stack.url("env-runner")
            with SyncEvaluationClient(url) as client:
                yield Runner(stack, url, client, store)
        store.close()


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(runner: Runner, downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.fail("--browser needs chromium and chromedriver on PATH (apt-get install chromium chromium-driver).")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options, Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def page(browser: Chrome, runner: Runner) -> Iterator[Page]:
    page = Page(browser, runner.url)
    page.complaints()  # of the test before
    yield page
    assert page.complaints() == []


@pytest.fixture
def long_one(runner: Runner) -> Iterator[str]:
    """An evaluation that goes on until the end of the test."""
    name = runner.client.submit(EvaluationRequest(protocol="full")).id
    yield name
    runner.store.cancel(name)
