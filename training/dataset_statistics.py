"""What a dataset is like: lengths in tokens, what truncation would cut, which decisions it holds, what repeats.

Lengths are those of what a model reads and writes, framed, with copy tokens for words that the vocabulary lacks, as
training and serving have them (`waymark.inference.tokens`). A prompt over the limit loses its last tokens, an answer
over it cannot be written. Renaming, which training does as it goes, is not counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from rich import box
from rich.table import Table

from training.datasets import Example
from training.worlds.registry import in_order
from waymark.inference.tokens import Tokens
from waymark.worlds.base import Split

_NAME_WIDTH = 36
_VERB = re.compile(r"\w*")


@dataclass(frozen=True)
class Lengths:
    """Tokens a text, all that frames it included."""

    median: int
    p95: int
    longest: int


@dataclass(frozen=True)
class TaskStatistics:
    """One task type's part of a split."""

    examples: int
    variations: int
    prompt: Lengths
    truncated: int
    """Prompts over the limit."""
    verbs: dict[str, int]
    """First word of the answer to how many, most frequent first."""


@dataclass(frozen=True)
class SplitStatistics:
    """One split of a dataset; counts are of examples unless they say otherwise."""

    examples: int
    variations: int
    prompt: Lengths
    target: Lengths
    truncated: int
    """Prompts over the limit."""
    truncated_tokens: int
    """What is cut off them, all together."""
    unwritable: int
    """Answers over the limit of new tokens."""
    copied: int
    """Answers with a word that is copied from the prompt, since the vocabulary lacks it."""
    verbs: dict[str, int]
    tasks: dict[str, TaskStatistics]


@dataclass(frozen=True)
class Duplicates:
    """Examples that stand in a dataset more than once. What a dev score counts twice, and what it counts as new."""

    within_train: int
    """Train examples that repeat an earlier one, prompt and answer."""
    dev_prompts_in_train: int
    """Dev examples whose prompt stands in train, with whatever answer."""
    dev_examples_in_train: int
    """Dev examples that stand in train whole: remembering suffices."""
    by_task: dict[str, int]
    """Task id to its dev examples whose prompt stands in train."""


@dataclass(frozen=True)
class DatasetStatistics:
    """All that is counted of a dataset."""

    splits: dict[Split, SplitStatistics]
    duplicates: Duplicates


def describe(
    corpora: Mapping[Split, Sequence[Example]],
    tokens: Tokens,
    *,
    max_input_tokens: int,
    max_new_tokens: int,
    advance: Callable[[], None] = lambda: None,
) -> DatasetStatistics:
    """Count a dataset with its train and dev splits, against the limits of a recipe; `advance` is called an example."""
    limits = {"max_input_tokens": max_input_tokens, "max_new_tokens": max_new_tokens}
    return DatasetStatistics(
        splits={split: describe_split(corpus, tokens, **limits, advance=advance) for split, corpus in corpora.items()},
        duplicates=duplicates(corpora["train"], corpora["dev"]),
    )


def describe_split(
    corpus: Sequence[Example],
    tokens: Tokens,
    *,
    max_input_tokens: int,
    max_new_tokens: int,
    advance: Callable[[], None] = lambda: None,
) -> SplitStatistics:
    """Count one split."""
    prompts, cut, targets = np.zeros((3, len(corpus)), dtype=int)
    copied = 0
    for place, example in enumerate(corpus):
        prompt = tokens.prompts([example.prompt], max_input_tokens)[0]
        cut[place] = prompt.truncated
        prompts[place] = len(prompt.ids) + prompt.truncated
        targets[place] = len(tokens.target(example.target, prompt)) + 1
        copied += not set(prompt.unknown).isdisjoint(example.target.split(" "))
        advance()
    tasks = {}
    for task in in_order(example.task_id for example in corpus):
        places = [place for place, example in enumerate(corpus) if example.task_id == task.id]
        own = [corpus[place] for place in places]
        tasks[task.id] = TaskStatistics(
            examples=len(own),
            variations=len({example.variation for example in own}),
            prompt=_summary(prompts[places]),
            truncated=int((cut[places] > 0).sum()),
            verbs=_verbs(own),
        )
    return SplitStatistics(
        examples=len(corpus),
        variations=sum(task.variations for task in tasks.values()),
        prompt=_summary(prompts),
        target=_summary(targets),
        truncated=int((cut > 0).sum()),
        truncated_tokens=int(cut.sum()),
        unwritable=int((targets > max_new_tokens).sum()),
        copied=copied,
        verbs=_verbs(corpus),
        tasks=tasks,
    )


def duplicates(train: Sequence[Example], dev: Sequence[Example]) -> Duplicates:
    """Compare two splits, text by text."""
    pairs = {(example.prompt, example.target) for example in train}
    prompts = {example.prompt for example in train}
    met = [example for example in dev if example.prompt in prompts]
    return Duplicates(
        within_train=len(train) - len(pairs),
        dev_prompts_in_train=len(met),
        dev_examples_in_train=sum((example.prompt, example.target) in pairs for example in met),
        by_task=dict(Counter(example.task_id for example in met).most_common()),
    )


def shown(statistics: DatasetStatistics) -> list[Table | str]:
    """The same for people: examples by task type, lengths, answers by verb, and what repeats."""
    repeated = statistics.duplicates
    return [
        _tasks_table(statistics.splits),
        _lengths_table(statistics.splits),
        *(
            f"{split} answers: " + ", ".join(f"{verb} {count:,}" for verb, count in of_split.verbs.items())
            for split, of_split in statistics.splits.items()
        ),
        f"{repeated.dev_prompts_in_train:,} dev prompts stand in train too, {repeated.dev_examples_in_train:,} with "
        f"their answer; {repeated.within_train:,} train examples repeat another.",
    ]


def _lengths_table(splits: dict[Split, SplitStatistics]) -> Table:
    """Lengths and truncation, a column a split."""
    rows: dict[str, Callable[[SplitStatistics], str]] = {
        "examples": lambda split: f"{split.examples:,}",
        "variations": lambda split: f"{split.variations:,}",
        "prompt tokens (median, 95%, longest)": lambda split: _shown(split.prompt),
        "answer tokens": lambda split: _shown(split.target),
        "cut prompts": lambda split: f"{split.truncated:,} ({split.truncated / max(1, split.examples):.1%})",
        "unwritable answers": lambda split: f"{split.unwritable:,}",
        "answers with copied words": lambda split: f"{split.copied:,} ({split.copied / max(1, split.examples):.1%})",
    }
    table = _table("", *splits)
    for name, value in rows.items():
        table.add_row(name, *map(value, splits.values()))
    return table


def _tasks_table(splits: dict[Split, SplitStatistics]) -> Table:
    """The examples of each task type: how many in each split, how long in the first, how many cut in all."""
    table = _table("task", *splits, "prompt", "cut")
    for task in in_order(chain.from_iterable(split.tasks for split in splits.values())):
        of_task = [split.tasks[task.id] for split in splits.values() if task.id in split.tasks]
        table.add_row(
            task.id if task.id == task.name else f"{task.id} {task.name}",
            *(f"{split.tasks[task.id].examples:,}" if task.id in split.tasks else "" for split in splits.values()),
            _shown(of_task[0].prompt),
            f"{sum(part.truncated for part in of_task):,}",
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column(first, no_wrap=True, max_width=_NAME_WIDTH)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _summary(lengths: np.ndarray[tuple[int], np.dtype[np.int_]]) -> Lengths:
    if not len(lengths):
        return Lengths(0, 0, 0)
    median, p95 = np.percentile(lengths, (50, 95), method="lower")
    return Lengths(int(median), int(p95), int(lengths.max()))


def _shown(lengths: Lengths) -> str:
    return f"{lengths.median:,} {lengths.p95:,} {lengths.longest:,}"


def _verbs(corpus: Sequence[Example]) -> dict[str, int]:
    verbs = Counter(match.group() for example in corpus if (match := _VERB.match(example.target)))
    return dict(verbs.most_common())
