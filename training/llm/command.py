"""The command `python -m training annotate --annotator llm`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import Progress

from training.annotations import describe, write_annotations
from training.interruption import run_async
from training.llm import prompts
from training.llm.annotator import (
    Annotated,
    Failure,
    LLMAnnotator,
    Outcome,
    from_the_middle,
    manifest,
    question,
)
from training.llm.budget import Budget, Prices, estimate
from training.llm.prompts import AnnotationPrompts
from training.llm.stored_answers import ChatModel, Tokens, Usage
from training.trajectories import PathKey, Trajectory
from waymark.clients.chat import Endpoint, Limits, Message
from waymark.errors import InvalidInput

_LISTED = 10
"""Failures that are printed; the manifest has them all."""


def endpoint_from(url: str, model: str, key: str, parameters: str) -> Endpoint:
    """The endpoint that the command line and the environment name. Raises InvalidInput."""
    try:
        fields = TypeAdapter(dict[str, JsonValue]).validate_json(parameters)
    except ValidationError as error:
        raise InvalidInput(
            f"--parameters {parameters!r} is not a JSON object.",
            remedy="""For example: --parameters '{"temperature": 0, "max_tokens": 4096}'.""",
            field="parameters",
        ) from error
    return Endpoint(url, model, key.strip(), fields, options=True)


def prices_from(prompt: float | None, completion: float | None) -> Prices | None:
    """Both prices, or None. There are no default prices. Raises InvalidInput if only one is given."""
    if prompt is None and completion is None:
        return None
    if prompt is None or completion is None:
        raise InvalidInput("One of two prices is missing.", remedy="Give --prompt-price and --completion-price.")
    return Prices(prompt, completion)


def print_prompts(console: Console, trajectories: Sequence[Trajectory], annotation_prompts: AnnotationPrompts) -> None:
    """Print the complete requests without sending them."""

    def show(heading: str, messages: Sequence[Message]) -> None:
        console.rule(heading)
        for message in messages:
            console.print(f"[{message['role']}]\n{message['content']}\n", markup=False, highlight=False, soft_wrap=True)

    show("every conversation begins with", prompts.opening(annotation_prompts))
    for _, group in groupby(sorted(trajectories, key=lambda path: path.task_id), key=lambda path: path.task_id):
        first, *others = from_the_middle(list(group))
        show(f"{_name(*first.key)}; its sub-goals become the second example below", [question(first)])
        for path in others:
            show(f"{_name(*path.key)}; after the second example", [question(path)])


def annotate_with_llm(
    trajectories: Sequence[Trajectory],
    endpoint: Endpoint,
    limits: Limits,
    annotation_prompts: AnnotationPrompts,
    *,
    give_up_after: int,
    cache: Path,
    output: Path,
    prices: Prices | None,
    max_cost: float | None,
    console: Console,
    bar: Progress,
) -> int:
    """Annotate paths, write the table and its manifest, and report; returns how many paths failed.

    The cost is estimated before the first call. After `give_up_after` requests in a row that failed, or once `max_cost`
    is spent, nothing more is asked; what was answered is written. Raises InvalidInput for an estimate over `max_cost`,
    and EndpointUnusable. Interrupted or failed, everything answered so far is in `cache`.
    """
    outcomes: dict[PathKey, Outcome] = {}
    expected = estimate(trajectories, prices, annotation_prompts)
    Budget(max_cost, prices, Usage()).require(expected)
    console.print(f"Estimate: {expected}.", highlight=False, soft_wrap=True)

    async def run() -> tuple[ChatModel, LLMAnnotator]:
        async with ChatModel(endpoint, cache, limits) as model:
            annotator = LLMAnnotator(model, annotation_prompts, give_up_after, Budget(max_cost, prices, model.usage))
            shown = bar.add_task(annotator.name, total=len(trajectories))

            def done(outcome: Outcome) -> None:
                outcomes[outcome.key] = outcome
                failed = sum(isinstance(known, Failure) for known in outcomes.values())
                description = f"{annotator.name} · {failed} failed, {model.usage.retries} tries again"
                bar.update(shown, advance=1, description=description)

            await annotator.annotate(trajectories, done)
        return model, annotator

    try:
        with bar:
            model, annotator = run_async(run)
    except (KeyboardInterrupt, SystemExit):
        console.print(
            f"Stopped. Answers so far are kept in {cache}; run the same command again to continue.",
            highlight=False,
            soft_wrap=True,
        )
        raise
    ordered = [outcomes[trajectory.key] for trajectory in trajectories]
    annotations = [outcome.annotation for outcome in ordered if isinstance(outcome, Annotated)]
    failures = [outcome for outcome in ordered if isinstance(outcome, Failure)]
    write_annotations(annotations, output)
    facts = manifest(output, annotator, model, ordered, prices)
    output.with_suffix(".manifest.json").write_text(json.dumps(facts, indent=1) + "\n")

    console.print(describe(annotations), highlight=False, soft_wrap=True)
    for name, tokens in (("asked now", model.usage.asked), ("from the cache", model.usage.cached)):
        console.print(f"{name}: {_in_words(tokens, prices)}", highlight=False, soft_wrap=True)
    console.print(_alignment(ordered), highlight=False, soft_wrap=True)
    for failure in failures[:_LISTED]:
        console.print(f"{_name(*failure.key)}: {failure.reason}", markup=False, highlight=False, soft_wrap=True)
    if annotator.breaker.is_open:
        console.print(
            f"Stopped asking after {give_up_after} failed requests in a row (--give-up-after). "
            f"The last one: {annotator.breaker.last}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if annotator.budget.is_spent:
        console.print(
            f"Stopped asking: --max-cost {max_cost:g} is spent ({annotator.budget.spent:.4f}).",
            highlight=False,
            soft_wrap=True,
        )
    if failures:
        console.print(
            f"{len(failures)} of {len(ordered)} paths have no annotation; the manifest beside {output} lists them. "
            "The same command asks again for these alone.",
            highlight=False,
            soft_wrap=True,
        )
    return len(failures)


def _alignment(outcomes: Sequence[Outcome]) -> str:
    """One line about the actions of the answers that did not match the paths."""
    good = [outcome for outcome in outcomes if isinstance(outcome, Annotated)]
    touched = sum(1 for path in good if path.extra or path.joined or path.repairs)
    dropped, joined = sum(path.extra for path in good), sum(path.joined for path in good)
    repairs = sum(path.repairs for path in good)
    return (
        f"aligned: {len(good)} paths, {touched} of them not as answered: {dropped} actions that are none of the path "
        f"dropped, {joined} left out alone joined to the one before, {repairs} calls more about longer gaps"
    )


def _name(task_id: str, variation: int, take: int) -> str:
    return f"{task_id} variation {variation}" + (f", take {take}" if take else "")


def _in_words(tokens: Tokens, prices: Prices | None) -> str:
    text = f"{tokens.answers} answers, {tokens.prompt} prompt and {tokens.completion} completion tokens"
    if tokens.unmetered:
        text += f" (the endpoint counted none for {tokens.unmetered} of them)"
    return f"{text}, cost {prices.cost(tokens):.4f}" if prices else text
