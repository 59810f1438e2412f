"""Count the words of prompts that a checkpoint's vocabulary lacks, and score the answers that begin with one.

    python -m benchmarks.vocabulary [checkpoints/controller checkpoints/executor] [--every 6]

A word that a vocabulary with copy tokens lacks is read as a number, in order of appearance
(`waymark.inference.tokens`). That is meant for names. A word of the prompt format itself, such as the head of a line or
the verb of an answer, should be in the vocabulary: as a number it shifts those of all names after it, and an answer
that begins with it is a number that differs from prompt to prompt. The examples are those of recorded training paths,
so a trained checkpoint should know them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.annotations import read_annotations
from training.datasets import Example, examples
from training.tokenizer import train_tokenizer
from training.trajectories import read_table
from waymark.inference.checkpoint import load
from waymark.inference.open_engine import open_generator
from waymark.inference.tokens import Tokens, read_tokenizer
from waymark.worlds.registry import get_format

_SHOWN, _BATCH, _VOCABULARY = 6, 32, 2048


def lacking(tokens: Tokens, corpus: list[Example]) -> tuple[Counter[str], list[Example]]:
    """Words that are read as numbers, with the prompts that hold each; and examples whose answer begins with one."""
    words: Counter[str] = Counter()
    begun = []
    for example in corpus:
        (prompt,) = tokens.prompts([example.prompt], 1 << 20)
        words.update(set(prompt.unknown))
        if example.target.split(" ", 1)[0] in prompt.unknown:
            begun.append(example)
    return words, begun


def main(
    checkpoints: Annotated[list[Path] | None, typer.Argument(help="Checkpoint folders.")] = None,
    every: Annotated[int, typer.Option(help="Take one of this many training paths.", min=1)] = 6,
    data: Annotated[Path, typer.Option(help="Table of trajectories.")] = Path("data/trajectories.parquet"),
    annotations: Annotated[Path, typer.Option(help="Table of sub-goals.")] = Path("data/annotations.parquet"),
) -> None:
    """Count and print."""
    console = Console(highlight=False)
    paths = [path for path in read_table(data) if path.split == "train"][::every]
    named = read_annotations(annotations)
    for folder in checkpoints or [Path("checkpoints/controller"), Path("checkpoints/executor")]:
        checkpoint = load(folder)
        role, form = checkpoint.card.role, get_format(checkpoint.card.prompt_format)
        corpus = examples(paths, named, role, form)
        own = Tokens(read_tokenizer(folder / "tokenizer.json"), 1)
        words, begun = lacking(own, corpus)
        anew, _ = lacking(
            Tokens(train_tokenizer((t for e in corpus for t in (e.prompt, e.target)), _VOCABULARY), 1), corpus
        )
        console.print(f"{folder}, {form.name}, {len(corpus)} prompts. Read as numbers: {_most(words)}")
        console.print(f"  with a vocabulary of {_VOCABULARY} learnt from these: {_most(anew)}")
        if begun:
            answers: Counter[tuple[str, str]] = Counter()
            with_numbers = open_generator("ctranslate2", checkpoint, threads=1)
            for start in range(0, len(begun), _BATCH):
                batch = begun[start : start + _BATCH]
                written = with_numbers.generate([example.prompt for example in batch])
                answers.update(
                    (example.target, generation.candidates[0].text)
                    for example, generation in zip(batch, written, strict=True)
                )
            with_numbers.close()
            right = sum(count for (target, answer), count in answers.items() if target == answer)
            console.print(f"  {len(begun)} answers begin with one; {right} of them are right")
            for (target, answer), count in answers.most_common(_SHOWN):
                console.print(f"    {count} times {target!r}: {answer!r}")


def _most(words: Counter[str]) -> str:
    return ", ".join(f"{word} {count}" for word, count in words.most_common(_SHOWN)) or "none"


if __name__ == "__main__":
    typer.run(main)
