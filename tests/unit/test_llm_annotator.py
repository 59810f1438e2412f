"""The LLM annotator over all paths without a network, and the report that compares annotators."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.chat_endpoint import answering, chat, completion
from tests.oracle import of_different_tasks, one_of_each_task, rule_annotations
from training.annotations import Annotation, annotate_by_rule, read_annotations, write_annotations
from training.compare_annotations import compare
from training.llm import prompts
from training.llm.annotator import Annotated, Failure, LLMAnnotator, Outcome
from training.llm.prompts import Named
from training.worlds.scienceworld.annotation_prompts import PROMPTS
from waymark.clients.chat import Limits, Message
from waymark.worlds.base import COMPLETE, Segment


@pytest.mark.anyio
async def test_each_task_type_gets_one_second_example_from_the_model(tmp_path: Path) -> None:
    conversations: list[list[Message]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        messages = json.loads(request.content)["messages"]
        conversations.append(messages)
        actions = prompts.read("all(): " + messages[-1]["content"].partition("Actions: ")[2])[0].actions
        return completion(prompts.written([Named(subgoal="all(it)", actions=actions)]))

    async def run(chosen: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        async with chat(handle, tmp_path) as model:
            await LLMAnnotator(model, PROMPTS).annotate(paths[:chosen], outcomes.append)
        return outcomes

    paths = of_different_tasks("2-1", 6)
    outcomes = await run(4)
    assert all(isinstance(outcome, Annotated) and outcome.annotation.annotator == "llm:large" for outcome in outcomes)
    assert [len(messages) for messages in conversations] == [4, 6, 6, 6]
    example = conversations[1][3:5]
    assert example[0] == conversations[0][-1]
    assert example[1]["content"].startswith("1- all(it): {'")
    await run(6)
    assert [messages[3:5] for messages in conversations[4:]] == [example] * 2


@pytest.mark.anyio
async def test_hidden_detours_keep_the_rule_annotators_subgoals(tmp_path: Path) -> None:
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
        await LLMAnnotator(model, PROMPTS).annotate([path, strayed], outcomes.append)
    segments = {outcome.key: outcome.annotation.segments for outcome in outcomes if isinstance(outcome, Annotated)}
    assert [segment.stop for segment in segments[path.key]] == [len(path.steps)] * 2
    by_rule = annotate_by_rule(strayed).segments[1].subgoal
    pieces = [("all(it)", 1), (by_rule, 2), (by_rule, 3), ("all(it)", len(strayed.steps))]
    assert [(segment.subgoal, segment.stop) for segment in segments[strayed.key][:-1]] == pieces
    assert model.usage.asked.answers == 1  # without the detours the two paths are the same


@pytest.mark.anyio
async def test_a_failing_path_does_not_stop_other_paths(tmp_path: Path) -> None:
    paths = of_different_tasks("2-1", 3)
    broken = paths[0]
    mended = False

    def handle(request: httpx.Request) -> httpx.Response:
        messages = json.loads(request.content)["messages"]
        question = next(message for message in messages[::-1] if message["content"].startswith("Task: "))["content"]
        if broken.task in question and not mended:
            return completion("I would rather not.")
        return completion(prompts.written([Named(subgoal="all(it)", actions=tuple(actions_of(question)))]))

    def actions_of(question: str) -> tuple[str, ...]:
        return prompts.read("all(): " + question.partition("Actions: ")[2])[0].actions

    async def run() -> tuple[list[Outcome], int]:
        outcomes: list[Outcome] = []
        async with chat(handle, tmp_path) as model:
            await LLMAnnotator(model, PROMPTS).annotate(paths, outcomes.append)
        return outcomes, model.usage.asked.answers

    outcomes, _ = await run()
    (failure,) = (outcome for outcome in outcomes if isinstance(outcome, Failure))
    assert failure.variation == broken.variation
    assert "holds no sub-goals" in failure.reason
    assert len(failure.answers) == 3
    assert all((tmp_path / name).exists() for name in failure.answers)
    mended = True
    outcomes, requests = await run()
    assert not any(isinstance(outcome, Failure) for outcome in outcomes)
    assert requests == 1


@pytest.mark.anyio
async def test_an_answer_is_kept_if_its_repair_call_fails(tmp_path: Path) -> None:
    (path,) = of_different_tasks("2-1", 1)
    actions = tuple(step.action for step in path.steps)
    first = completion(prompts.written([Named(subgoal="half(it)", actions=actions[:-2])]))
    rest = completion(prompts.written([Named(subgoal="rest(it)", actions=actions[-2:])]))
    handle, seen = answering(first, httpx.Response(500), rest)
    outcomes: list[Outcome] = []
    for _ in range(2):
        async with chat(handle, tmp_path, Limits(attempts=1)) as model:
            await LLMAnnotator(model, PROMPTS).annotate([path], outcomes.append)
    failure, annotated = outcomes
    assert isinstance(failure, Failure)
    assert "answered 500" in failure.reason
    assert isinstance(annotated, Annotated)
    assert [segment.subgoal for segment in annotated.annotation.segments] == ["half(it)", "rest(it)", COMPLETE]
    assert len(seen) == 3


def test_a_run_without_annotations_writes_an_empty_table(tmp_path: Path) -> None:
    assert write_annotations([], tmp_path / "none.parquet") == 0
    assert read_annotations(tmp_path / "none.parquet") == {}


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
    facts = compare({labels.key: labels for labels in left}, {labels.key: labels for labels in right}).facts()
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
