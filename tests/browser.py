"""A real browser on the dashboard: the stack that it shows, and a page with waiting built in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from services.env_runner.queue import JobStore
from waymark.cli.local_stack import Stack
from waymark.clients.services import SyncEvaluationClient

KEY = "a-key-of-the-tests"
SECONDS = 60
"""How long anything may take to appear."""
RELOADS = 4
RELOAD_SECONDS = 10
"""How long the modules of a page may take to load before it is loaded again."""
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,900"
).split()
_T = TypeVar("_T")


@dataclass(frozen=True)
class Runner:
    """The stack, and ways around the browser to what it holds."""

    stack: Stack
    url: str
    client: SyncEvaluationClient
    store: JobStore


class Page:
    """The browser, with waiting built in."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self, place: str = "", *, key: str | None = KEY) -> None:
        """Begin anew at the part of the address after `#`."""
        self.browser.get(f"{self.url}/#/{place}")
        self.browser.execute_script("sessionStorage.clear()")
        for _ in range(RELOADS):
            self.browser.refresh()
            if self.is_loaded():
                break
        if key is not None:
            self.enter(key)

    def is_loaded(self) -> bool:
        """Whether the page's modules run. Chromium drops requests when a network interface appears on the machine."""
        began = time.monotonic()
        while time.monotonic() < began + RELOAD_SECONDS:
            if "if nothing appears" not in self.text("main"):
                return True
            time.sleep(0.1)
        return False

    def enter(self, key: str) -> None:
        self.find("input[type=password]").send_keys(key, Keys.ENTER)

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    def all(self, selector: str) -> list[WebElement]:
        return [element for element in self.browser.find_elements(By.CSS_SELECTOR, selector) if element.is_displayed()]

    def find(self, selector: str, text: str = "") -> WebElement:
        """The first element that shows and holds that text, once there is one."""
        return self.wait(lambda: next((element for element in self.all(selector) if text in element.text), None))

    def text(self, selector: str) -> str:
        """The words of the first such element that shows; a page that is live may draw it anew meanwhile."""
        return self.wait(lambda: next((element.text for element in self.all(selector)), None))

    def click(self, selector: str, text: str = "") -> None:
        """Click on it, once it is there; a page that is live may just have drawn it anew."""

        def clicked() -> bool:
            self.find(selector, text).click()
            return True

        self.wait(clicked)

    def rows(self, table: str) -> list[list[str]]:
        """The words of a table's body, cell by cell."""
        script = "return [...document.querySelectorAll(arguments[0])].map(r => [...r.cells].map(c => c.textContent))"
        rows: list[list[str]] = self.browser.execute_script(script, f"{table} tbody tr")
        return rows

    def wait(self, question: Callable[[], _T | None]) -> _T:
        """What a question is answered with, once that is something."""
        patient = WebDriverWait(self.browser, SECONDS, ignored_exceptions=[StaleElementReferenceException])
        answer = patient.until(lambda _: question())
        assert answer is not None
        return answer

    def complaints(self) -> list[str]:
        """What the console has to say: broken scripts, and what the Content-Security-Policy stopped."""
        entries: list[dict[str, Any]] = self.browser.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if "Failed to load resource" not in entry["message"]]
