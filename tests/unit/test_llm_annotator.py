"""The LLM annotator without a network: what a model is shown, how its answers are read, aligned, kept and compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import of_different_tasks, one_of_each_task, rule_annotations
from training.annotate import Annotation, annotate_by_rule, read_annotations, write_annotations
from training.compare import compare
from training.llm import prompts
from training.llm.alignment import Alignment
from training.llm.annotator import Annotated, Failure, LLMAnnotator, Outcome
from training.llm.chat import ChatModel
from training.llm.prompts import BOIL_WATER, MEANINGS, Named
from waymark.clients.chat import LONGEST_PAUSE, Endpoint, Limits, Message
from waymark.errors import EndpointUnusable, InvalidInput, ServiceRejected, ServiceUnavailable
from waymark.worlds.scienceworld.actions import GRAMMAR, parse
from waymark.worlds.scienceworld.subgoals import COMPLETE, Segment

KEY = "sk-secret"
HELLO: list[Message] = [{"role": "user", "content": "hello"}]
Handler = Callable[[httpx.Request], httpx.Response]


def completion(text: str, finish_reason: str = "stop") -> httpx.Response:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return httpx.Response(200, json={"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})


def chat(handler: Handler, cache: Path, limits: Limits | None = None) -> ChatModel:
    return ChatModel(Endpoint("http://model/v1", "large", KEY), cache, limits, httpx.MockTransport(handler))


def answering(*responses: httpx.Response) -> tuple[Handler, list[httpx.Request]]:
    """A handler that gives these responses in turn, and the requests that it has seen."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return responses[len(seen) - 1]

    return handle, seen


def pairs(named: list[Named]) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.subgoal, one.actions) for one in named]


# --- prompts ---------------------------------------------------------------------------------------------------------


def test_every_action_template_is_explained() -> None:
    assert MEANINGS.keys() == {(row.verb, row.arity) for row in GRAMMAR}
    system = prompts.opening()[0]["content"]
    assert "- connect OBJ to OBJ: " in system
    assert all(parse(action) for named in BOIL_WATER.named for action in named.actions)


def test_the_worked_example_is_a_turn_in_the_published_form() -> None:
    _, asked, answered = prompts.opening()
    assert asked["content"].endswith("'use thermometer on substance in metal pot'}")
    assert answered["content"].startswith("1- navigate_to(kitchen): {'open door to kitchen', 'go to kitchen'}\n2- ")


def test_an_answer_reads_back_as_it_was_written() -> None:
    assert prompts.read(prompts.written(BOIL_WATER.named)) == list(BOIL_WATER.named)


@pytest.mark.parametrize(
    "text",
    [
        "1- fill(metal pot, water): {'activate sink', 'wait1'} 2- wait(1): {'wait'}",
        "Sure!\n1. **fill(metal pot,water)**: ['activate sink', \"wait1\"]\n2) `wait(1)` : {wait}\nDone.",
        "<think>1- a(x): {'task'}</think>1- fill('metal pot', 'water'): {‘activate sink’,\n ‘wait1’}\nwait(1):{'wait'}",
        "1- fill(metal pot, water): {'activate sink', 'wait1'}\n2- wait(1): {'wait'}\n3- complete_task(): {'task'}",
        "1- fill(metal pot, water): {'activate sink', 'wait1'}\n2- wait(1): {'wait",
    ],
)
def test_answers_are_read_whatever_stands_around_them(text: str) -> None:
    expected = [("fill(metal pot, water)", ("activate sink", "wait1")), ("wait(1)", ("wait",))]
    assert pairs(prompts.read(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "I cannot help with that.", "fill(pot)", "{'wait'}", "<think>1- wait(1): {'wait'}"]
)
def test_what_is_no_answer_holds_no_subgoals(text: str) -> None:
    assert prompts.read(text) == []


# --- alignment -------------------------------------------------------------------------------------------------------

PATH = ["teleport to kitchen", "open cupboard", "pick up metal pot", "wait1", "wait1", "focus on water"]


def aligned(*answers: str) -> tuple[list[tuple[str, int]], list[range], int]:
    """Sub-goals with how many actions each has, what is missing, and how many extra actions there were."""
    alignment = Alignment(PATH)
    for answer in answers:
        alignment.take(prompts.read(answer))
    segments = [] if alignment.missing() else alignment.segments()[:-1]
    return [(one.subgoal, one.stop - one.start) for one in segments], alignment.missing(), alignment.extra


def test_a_faithful_answer_covers_the_path_as_it_says() -> None:
    found, missing, extra = aligned("a(): {teleport to kitchen} b(): {open cupboard, pick up metal pot} "
                                    "c(): {wait1, wait1} d(): {focus on water}")  # fmt: skip
    assert found == [("a()", 1), ("b()", 2), ("c()", 2), ("d()", 1)]
    assert (missing, extra) == ([], 0)


def test_extra_actions_are_dropped_and_subgoals_of_nothing_else_with_them() -> None:
    found, _, extra = aligned("a(): {teleport to kitchen, look around} x(): {eat apple} b(): {open cupboard, "
                              "pick up metal pot} c(): {wait1, wait1, wait1} d(): {focus on water}")  # fmt: skip
    assert found == [("a()", 1), ("b()", 2), ("c()", 2), ("d()", 1)]
    assert extra == 3


def test_a_single_missing_action_joins_the_subgoal_before_it() -> None:
    found, _, _ = aligned(
        "a(): {teleport to kitchen} b(): {pick up metal pot} c(): {wait1, wait1} d(): {focus on water}"
    )
    assert found == [("a()", 2), ("b()", 1), ("c()", 2), ("d()", 1)]


def test_a_missing_first_action_joins_the_subgoal_after_it() -> None:
    found, _, _ = aligned("b(): {open cupboard, pick up metal pot} c(): {wait1, wait1} d(): {focus on water}")
    assert found == [("b()", 3), ("c()", 2), ("d()", 1)]


def test_a_run_of_missing_actions_is_for_the_model_to_name() -> None:
    first = "a(): {teleport to kitchen} d(): {wait1, wait1, focus on water}"
    assert aligned(first)[1] == [range(1, 3)]
    found, missing, _ = aligned(first, "b(): {open cupboard} b(): {pick up metal pot}")
    assert found == [("a()", 1), ("b()", 1), ("b()", 1), ("d()", 3)]
    assert missing == []


def test_a_path_of_one_action_that_is_missing_is_a_run() -> None:
    alignment = Alignment(["focus on water"])
    alignment.take([])
    assert alignment.missing() == [range(1)]


@pytest.mark.parametrize("said", ["pick up pot", "Pick up  the metal pot", "take metal pot", "get pot"])
def test_an_action_said_in_other_words_keeps_its_place(said: str) -> None:
    found, _, extra = aligned(f"a(): {{teleport to kitchen, open cupboard}} b(): {{{said}}} c(): {{wait1, wait1}} "
                              "d(): {focus on water}")  # fmt: skip
    assert found == [("a()", 2), ("b()", 1), ("c()", 2), ("d()", 1)]
    assert extra == 0


def test_the_rule_annotators_subgoals_come_through_an_answer_unchanged() -> None:
    for trajectory in one_of_each_task():
        actions = [step.action for step in trajectory.steps]
        segments = annotate_by_rule(trajectory).segments
        answer = [Named(subgoal=one.subgoal, actions=tuple(actions[one.start : one.stop])) for one in segments]
        alignment = Alignment(actions)
        alignment.take(prompts.read(prompts.written(answer)))
        assert alignment.segments() == segments


def test_an_action_left_out_alone_takes_nothing_from_the_run_that_the_model_names() -> None:
    alignment = Alignment(["wait", "look around", "look around", "wait", "wait", "look around"])
    alignment.take([Named(subgoal="a()", actions=("look around", "wait"))])
    assert alignment.missing() == [range(4, 6)]
    alignment.take([Named(subgoal="b()", actions=("wait", "look around"))])
    assert alignment.missing() == []


@given(st.data())
def test_whatever_an_answer_leaves_out_a_path_is_covered_once_its_runs_are_named(data: st.DataObject) -> None:
    path = data.draw(st.lists(st.sampled_from([*PATH, "wait", "eat apple"]), min_size=1, max_size=12))
    said = data.draw(st.lists(st.sampled_from([*PATH, "nonsense", "go north"]), max_size=12))
    alignment = Alignment(path)
    alignment.take([Named(subgoal=f"s{index}()", actions=(action,)) for index, action in enumerate(said)])
    missing = tuple(path[index] for run in alignment.missing() for index in run)
    alignment.take([Named(subgoal="rest()", actions=missing)])
    segments = alignment.segments()
    assert alignment.missing() == []
    assert [one.start for one in segments] == [0, *(one.stop for one in segments[:-1])]
    assert segments[-1] == Segment(COMPLETE, len(path), len(path))
    assert all(one.stop > one.start for one in segments[:-1])


# --- one endpoint ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_answer_is_paid_for_once(tmp_path: Path) -> None:
    handle, seen = answering(completion("hi"))
    for _ in range(2):
        async with chat(handle, tmp_path) as model:
            _, answer = await model.ask(HELLO)
            assert answer.text == "hi"
    assert len(seen) == 1
    assert seen[0].url == "http://model/v1/chat/completions"
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert (model.usage.asked.answers, model.usage.cached.prompt) == (0, 7)


@pytest.mark.anyio
async def test_a_damaged_cache_file_is_asked_again(tmp_path: Path) -> None:
    handle, seen = answering(completion("hi"), completion("hi"))
    async with chat(handle, tmp_path) as model:
        key, _ = await model.ask(HELLO)
        (tmp_path / f"{key}.json").write_text('{"request": {')
        await model.ask(HELLO)
    assert len(seen) == 2


@pytest.mark.anyio
async def test_another_model_or_temperature_is_another_request(tmp_path: Path) -> None:
    endpoint = Endpoint("http://model/v1", "large")
    others = (endpoint, replace(endpoint, model="small"), replace(endpoint, parameters={"temperature": 1}))
    keys = [ChatModel(one, tmp_path).key({"messages": []}) for one in others]
    assert len(set(keys)) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("retry_after", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_retry_after_is_honoured_instead_of_our_own_pause(retry_after: str, tmp_path: Path) -> None:
    busy = httpx.Response(429, headers={"retry-after": retry_after})
    handle, seen = answering(busy, busy, completion("hi"))
    async with chat(handle, tmp_path, Limits(first_pause=1e6)) as model:
        _, answer = await model.ask(HELLO)
    assert (answer.text, len(seen), model.usage.retries) == ("hi", 3, 2)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "bad",
    [
        httpx.Response(500),
        httpx.Response(529),
        httpx.Response(408),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"choices": []}),
    ],
)
async def test_what_may_pass_is_tried_again(bad: httpx.Response, tmp_path: Path) -> None:
    handle, _ = answering(bad, completion("hi"))
    async with chat(handle, tmp_path, Limits(first_pause=0)) as model:
        assert (await model.ask(HELLO))[1].text == "hi"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(400, json={"error": f"context too long for {KEY}"}), ServiceRejected),
        (httpx.Response(401), EndpointUnusable),
        (httpx.Response(404), EndpointUnusable),
        (httpx.Response(429, headers={"retry-after": str(LONGEST_PAUSE + 1)}), ServiceUnavailable),
    ],
)
async def test_what_will_not_pass_is_not_tried_again(
    response: httpx.Response, error: type[Exception], tmp_path: Path
) -> None:
    handle, seen = answering(response)
    async with chat(handle, tmp_path) as model:
        with pytest.raises(error) as raised:
            await model.ask(HELLO)
    assert len(seen) == 1
    assert KEY not in str(raised.value)


@pytest.mark.anyio
async def test_no_more_requests_are_under_way_than_allowed_and_equal_ones_are_asked_once(tmp_path: Path) -> None:
    under_way, most, asked = 0, 0, 0

    async def handle(_: httpx.Request) -> httpx.Response:
        nonlocal under_way, most, asked
        asked, under_way = asked + 1, under_way + 1
        most = max(most, under_way)
        await anyio.sleep(0.01)
        under_way -= 1
        return completion("hi")

    endpoint = Endpoint("http://model/v1", "large")
    async with (
        ChatModel(endpoint, tmp_path, Limits(concurrency=3), httpx.MockTransport(handle)) as model,
        anyio.create_task_group() as group,
    ):
        for index in range(24):
            message: Message = {"role": "user", "content": str(index % 12)}
            group.start_soon(model.ask, [message])
    assert (most, asked) == (3, 12)


@pytest.mark.parametrize(
    ("url", "model"), [("", "large"), ("model/v1", "large"), ("ftp://model", "x"), ("http://m", "")]
)
def test_an_endpoint_needs_an_address_and_a_model(url: str, model: str) -> None:
    with pytest.raises(InvalidInput):
        Endpoint(url, model)


def test_an_address_is_shown_without_its_password_and_a_key_never() -> None:
    endpoint = Endpoint("https://me:pass@model/v1/?key=1", "large", KEY)
    assert endpoint.address == "https://model/v1"
    assert KEY not in repr(endpoint)


# --- all paths -------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_each_task_type_gets_a_second_example_once_from_the_model_itself(tmp_path: Path) -> None:
    conversations: list[list[Message]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        messages = json.loads(request.content)["messages"]
        conversations.append(messages)
        actions = prompts.read("all(): " + messages[-1]["content"].partition("Actions: ")[2])[0].actions
        return completion(prompts.written([Named(subgoal="all(it)", actions=actions)]))

    async def run(chosen: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        async with chat(handle, tmp_path) as model:
            await LLMAnnotator(model).annotate(paths[:chosen], outcomes.append)
        return outcomes

    paths = of_different_tasks("2-1", 6)
    outcomes = await run(4)
    assert all(isinstance(one, Annotated) and one.annotation.annotator == "llm:large" for one in outcomes)
    assert [len(messages) for messages in conversations] == [4, 6, 6, 6]
    example = conversations[1][3:5]
    assert example[0] == conversations[0][-1]
    assert example[1]["content"].startswith("1- all(it): {'")
    await run(6)
    assert [messages[3:5] for messages in conversations[4:]] == [example] * 2


@pytest.mark.anyio
async def test_detours_are_not_shown_and_keep_the_subgoals_of_the_rule_annotator(tmp_path: Path) -> None:
    (path,) = of_different_tasks("2-1", 1)
    stray = replace(path.steps[0], action="teleport to hallway", detour=True)
    strayed = replace(path, steps=[path.steps[0], stray, stray, *path.steps[1:]], take=1)

    def handle(request: httpx.Request) -> httpx.Response:
        question = json.loads(request.content)["messages"][-1]["content"]
        assert "hallway" not in question
        actions = prompts.read("all(): " + question.partition("Actions: ")[2])[0].actions
        return completion(prompts.written([Named(subgoal="all(it)", actions=actions)]))

    outcomes: list[Outcome] = []
    async with chat(handle, tmp_path) as model:
        await LLMAnnotator(model).annotate([path, strayed], outcomes.append)
    found = {one.key: one.annotation.segments for one in outcomes if isinstance(one, Annotated)}
    assert [one.stop for one in found[path.key]] == [len(path.steps)] * 2
    by_rule = annotate_by_rule(strayed).segments[1].subgoal
    pieces = [("all(it)", 1), (by_rule, 2), (by_rule, 3), ("all(it)", len(strayed.steps))]
    assert [(one.subgoal, one.stop) for one in found[strayed.key][:-1]] == pieces
    assert model.usage.asked.answers == 1  # without the detours the two paths are the same


@pytest.mark.anyio
async def test_a_failing_path_stops_neither_the_others_nor_a_later_try(tmp_path: Path) -> None:
    paths = of_different_tasks("2-1", 3)
    broken = paths[0]
    mended = False

    def handle(request: httpx.Request) -> httpx.Response:
        messages = json.loads(request.content)["messages"]
        asked = next(one for one in messages[::-1] if one["content"].startswith("Task: "))["content"]
        if broken.task in asked and not mended:
            return completion("I would rather not.")
        return completion(prompts.written([Named(subgoal="all(it)", actions=tuple(said(asked)))]))

    def said(asked: str) -> tuple[str, ...]:
        return prompts.read("all(): " + asked.partition("Actions: ")[2])[0].actions

    async def run() -> tuple[list[Outcome], int]:
        outcomes: list[Outcome] = []
        async with chat(handle, tmp_path) as model:
            await LLMAnnotator(model).annotate(paths, outcomes.append)
        return outcomes, model.usage.asked.answers

    outcomes, _ = await run()
    (failure,) = (one for one in outcomes if isinstance(one, Failure))
    assert failure.variation == broken.variation
    assert "holds no sub-goals" in failure.reason
    assert len(failure.answers) == 3
    assert all((tmp_path / name).exists() for name in failure.answers)
    mended = True
    outcomes, asked = await run()
    assert not any(isinstance(one, Failure) for one in outcomes)
    assert asked == 1


@pytest.mark.anyio
async def test_an_answer_is_kept_when_the_repair_call_after_it_fails(tmp_path: Path) -> None:
    (path,) = of_different_tasks("2-1", 1)
    actions = tuple(step.action for step in path.steps)
    first = completion(prompts.written([Named(subgoal="half(it)", actions=actions[:-2])]))
    rest = completion(prompts.written([Named(subgoal="rest(it)", actions=actions[-2:])]))
    handle, seen = answering(first, httpx.Response(500), rest)
    outcomes: list[Outcome] = []
    for _ in range(2):
        async with chat(handle, tmp_path, Limits(attempts=1)) as model:
            await LLMAnnotator(model).annotate([path], outcomes.append)
    failure, annotated = outcomes
    assert isinstance(failure, Failure)
    assert "answered 500" in failure.reason
    assert isinstance(annotated, Annotated)
    assert [one.subgoal for one in annotated.annotation.segments] == ["half(it)", "rest(it)", COMPLETE]
    assert len(seen) == 3


def test_a_run_without_any_annotation_writes_a_table_that_reads_back_empty(tmp_path: Path) -> None:
    assert write_annotations([], tmp_path / "none.parquet") == 0
    assert read_annotations(tmp_path / "none.parquet") == {}


# --- the report ------------------------------------------------------------------------------------------------------


def annotation(variation: int, *pieces: tuple[str, int], annotator: str = "one") -> Annotation:
    segments, at = [], 0
    for subgoal, length in pieces:
        segments.append(Segment(subgoal, at, at + length))
        at += length
    return Annotation("4-2", variation, annotator, [*segments, Segment(COMPLETE, at, at)])


def test_agreement_counts_cuts_verbs_and_names() -> None:
    left = (annotation(0, ("go(a)", 2), ("take(b)", 1), ("go(c)", 2)), annotation(1, ("x()", 1)))
    right = (
        annotation(0, ("go(a)", 2), ("go(d)", 3), annotator="two"),
        annotation(1, ("x()", 2), annotator="two"),
        annotation(2, ("x()", 1), annotator="two"),
    )
    facts = compare({one.key: one for one in left}, {one.key: one for one in right}).facts()
    agreed = facts["tasks"]["4-2"]
    assert (facts["left"], facts["right"]) == ("one", "two")
    assert agreed["left"]["subgoals_per_path"] == 3
    assert agreed["right"]["actions_per_subgoal"] == 2.5
    assert agreed["left"]["verbs"] == {"go": 2, "take": 1}
    assert agreed["boundary_f1"] == pytest.approx(2 / 3)
    assert agreed["same_verb"] == 0.8
    assert agreed["same_name"] == 0.4
    assert facts["of_other_length"] == [left[1].key]
    assert facts["only_right"] == [right[2].key]
    assert facts["only_left"] == []


def test_an_annotator_agrees_with_itself() -> None:
    same = rule_annotations(one_of_each_task())
    overall = compare(same, same).facts()["overall"]
    assert (overall["paths"], overall["boundary_f1"], overall["same_name"]) == (30, 1.0, 1.0)
