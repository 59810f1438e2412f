"""The circuit breaker of the LLM annotator: an endpoint that always fails is not asked about every path."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest

from tests.oracle import of_different_tasks
from training.llm.annotator import Annotated, Failure, LLMAnnotator, Outcome
from training.llm.stored_answers import ChatModel
from training.trajectories import Trajectory
from training.worlds.scienceworld.annotation_prompts import PROMPTS
from waymark.clients.chat import Endpoint, Limits

PATHS = [path for task in ("2-1", "2-2", "3-3") for path in of_different_tasks(task, 5)]
ONCE = Limits(concurrency=1, attempts=1, timeout=5)


def good(request: httpx.Request) -> httpx.Response:
    """Names all actions one sub-goal."""
    asked = json.loads(request.content)["messages"][-1]["content"].partition("\n")[2]
    content = f"1- do(1): {asked[asked.index('{') :] if '{' in asked else '{' + asked + '}'}"
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return httpx.Response(200, json={"choices": [choice]})


def annotate(
    handle: Callable[[httpx.Request], httpx.Response],
    cache: Path,
    give_up_after: int,
    limits: Limits = ONCE,
    paths: list[Trajectory] = PATHS,
) -> tuple[list[Outcome], int, LLMAnnotator]:
    """What came of each path, how often the endpoint was asked, and the annotator."""
    asked = 0
    outcomes: list[Outcome] = []

    def count(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return handle(request)

    async def run() -> LLMAnnotator:
        endpoint = Endpoint("http://model/v1", "large", "key")
        async with ChatModel(endpoint, cache, limits, httpx.MockTransport(count)) as model:
            annotator = LLMAnnotator(model, PROMPTS, give_up_after)
            await annotator.annotate(paths, outcomes.append)
            return annotator

    annotator = anyio.run(run)
    return outcomes, asked, annotator


def failing(status: int) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, text="no")


def silent(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("too late")


@pytest.mark.parametrize(
    "handle", [failing(500), failing(400), failing(429), silent, lambda _: httpx.Response(200, text="<html>")]
)
def test_an_endpoint_that_always_fails_is_asked_a_few_times(
    handle: Callable[[httpx.Request], httpx.Response], tmp_path: Path
) -> None:
    outcomes, asked, annotator = annotate(handle, tmp_path, 5)
    assert asked in (5, 6)  # one more may be under way, and is given up
    assert len(outcomes) == len(PATHS)
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Failure)]
    assert (
        sum("Not asked: the endpoint had failed 5 times in a row." in reason for reason in reasons)
        == len(PATHS) - asked
    )
    assert annotator.breaker.is_open
    assert annotator.breaker.last is not None


def test_zero_failures_mean_that_all_paths_are_tried(tmp_path: Path) -> None:
    _, asked, annotator = annotate(failing(500), tmp_path, 0)
    assert asked == len(PATHS)
    assert not annotator.breaker.is_open


def test_a_success_resets_the_count_of_failures(tmp_path: Path) -> None:
    replies = iter([500, 500, 200] * 5)

    def sometimes(request: httpx.Request) -> httpx.Response:
        return good(request) if next(replies) == 200 else httpx.Response(500)

    outcomes, asked, annotator = annotate(sometimes, tmp_path, 3)
    assert asked == len(PATHS)
    assert not annotator.breaker.is_open
    assert sum(isinstance(outcome, Annotated) for outcome in outcomes) == 5


def test_answers_on_disk_are_used_after_asking_has_stopped(tmp_path: Path) -> None:
    known = PATHS[-3:]
    first, asked, _ = annotate(good, tmp_path, 2, paths=known)
    assert all(isinstance(path_outcome, Annotated) for path_outcome in first)
    outcomes, asked, _ = annotate(failing(500), tmp_path, 2)
    assert asked in (2, 3)
    assert {outcome.key for outcome in outcomes if isinstance(outcome, Annotated)} == {path.key for path in known}


def test_requests_under_way_are_given_up_when_asking_stops(tmp_path: Path) -> None:
    """With retries that pause for minutes, the paths beside would be waited for."""
    replies = iter([500] * 2)

    def busy(_: httpx.Request) -> httpx.Response:
        status = next(replies, 429)
        return httpx.Response(status if status == 429 else 400, headers={"retry-after": "500"})

    outcomes, _, annotator = annotate(busy, tmp_path, 2, Limits(concurrency=8, attempts=3, timeout=5))
    assert annotator.breaker.is_open
    assert len(outcomes) == len(PATHS)


def test_answers_that_cannot_be_stored_stop_the_run_with_one_error(tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def answer_without_a_cache(request: httpx.Request) -> httpx.Response:
        if cache.is_dir():
            shutil.rmtree(cache)
            cache.write_text("in its place")
        return good(request)

    with pytest.raises(OSError, match="cache"):
        annotate(answer_without_a_cache, cache, 0, Limits(concurrency=2, attempts=1, timeout=5))
