"""The queries of deploy/observe, put to a real Prometheus as Grafana would."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped]

OBSERVE = Path(__file__).parents[1] / "deploy" / "observe"
DASHBOARDS = sorted((OBSERVE / "grafana" / "dashboards").glob("*.json"))


def panel_queries() -> list[tuple[str, str]]:
    """Every query of both dashboards, with the panel that it is for."""
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    return [
        (f"{board['title']}: {panel['title']}", target["expr"])
        for board in boards
        for panel in board["panels"]
        for target in panel["targets"]
    ]


def alert_rules() -> list[tuple[str, str]]:
    """Every alert with its expression."""
    rules = yaml.safe_load((OBSERVE / "alerts.yml").read_text())["groups"]
    return [(rule["alert"], rule["expr"]) for group in rules for rule in group["rules"]]


def ask(prometheus: str, expression: str, window: str) -> list[dict[str, Any]]:
    """The series that answer a query now; `window` is what Grafana would put for $__rate_interval.

    Raises HTTPError while Prometheus starts.
    """
    query = expression.replace("$__rate_interval", window)
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}, trust_env=False)
    document = answer.raise_for_status().json()
    assert document["status"] == "success", document
    series: list[dict[str, Any]] = document["data"]["result"]
    return series


def assert_panels_are_answered(prometheus: str, window: str, seconds: float) -> None:
    """Every query of both dashboards has an answer before so many seconds are over, and every rule is well."""
    deadline = time.monotonic() + seconds
    unanswered = panel_queries()
    assert unanswered
    while unanswered:
        unanswered = [(panel, query) for panel, query in unanswered if not ask(prometheus, query, window)]
        assert not unanswered or time.monotonic() < deadline, unanswered
        time.sleep(0.5)
    groups = httpx.get(f"{prometheus}/api/v1/rules", trust_env=False).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {name for name, _ in alert_rules()}
    assert {rule["health"] for rule in rules} == {"ok"}
