"""What the first updates of a training do to a model, and how long an update takes.

    python -m benchmarks.first_updates losses --format compact-reasons --base checkpoints/controller --rates 4e-4,1e-4
    python -m benchmarks.first_updates speed --base checkpoints/controller

`losses` reads the batches that a training with this recipe would draw. It prints the loss of each batch, in nats a
token, under the weights as they are, with the share of its tokens that belong to a reason. Then it trains once for each
rate, and prints after each tenth update the loss of two fixed samples: decisions with a reason and decisions without.
If a rate destroys what the model knows, the loss of decisions without a reason rises.

`speed` times updates of one and the same batches: with attention as transformers computes it and with the kernels that
trainings choose on a CPU (`training.cpu_kernels`), in bfloat16 and in float32, for several batch sizes. `eager` is
transformers' attention by plain products. The other kernels are the same on both sides.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from training import cpu_attention
from training.batches import Batches, Pair
from training.commands.console import progress_bar, say
from training.cpu_kernels import suit_to_cpu
from training.datasets import Example
from training.load_examples import Wording, read_corpora
from training.model import end_token, open_model, open_tokenizer, pad_token
from training.model_inputs import IGNORED, Tensors
from training.recipe import Recipe, read_recipe
from waymark.contracts import Role
from waymark.inference.tokens import Tokens
from waymark.worlds.base import REASON_END

_SAMPLE = 64
_WARMUP = 20

app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)
_out = Console(highlight=False)

RoleOption = Annotated[str, typer.Option(help="Role: controller, executor or flat.")]
FormatOption = Annotated[str, typer.Option("--format", help="Prompt format.")]
BaseOption = Annotated[Path, typer.Option(help="Folder of the model to begin from.")]
RecipeOption = Annotated[Path, typer.Option(help="Recipe, a JSON file.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the batches.")]
LeaveOutOption = Annotated[int | None, typer.Option(help="Fold to leave out.")]


class _Trained:
    """A model with what a training step needs."""

    def __init__(self, recipe: Recipe, corpus: Sequence[Example], bf16: bool) -> None:
        tokenizer = open_tokenizer(recipe, ())
        self.model: Any = open_model(recipe, tokenizer)
        self.tensors = Tensors(Tokens(tokenizer, end_token(self.model)), recipe, pad_token(self.model))
        self.batches = Batches(corpus, recipe)
        self._bf16 = bf16
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, eps=1e-6
        )

    def _forward(self, inputs: dict[str, Any]) -> Any:
        cast = torch.autocast("cpu", dtype=torch.bfloat16) if self._bf16 else contextlib.nullcontext()
        with cast:
            return self.model(**inputs, use_cache=False)

    def loss(self, pairs: Sequence[Pair]) -> float:
        """The mean loss of these answers' tokens, in nats, without an update."""
        self.model.eval()
        with torch.no_grad():
            return float(self._forward(self.tensors(pairs)).loss)

    def update(self, pairs: Sequence[Pair], rate: float) -> float:
        """One update; the loss before it."""
        self.model.train()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = self._forward(self.tensors(pairs)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(loss)

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """Tokens of these answers."""
        return int((self.tensors(pairs)["labels"] != IGNORED).sum())  # type: ignore[union-attr]


def _corpus(role: str, prompt_format: str, leave_out: int | None) -> list[Example]:
    data, annotations = Path("data/trajectories.parquet"), Path("data/annotations.parquet")
    wording = Wording(_role(role), prompt_format)
    corpora = read_corpora(
        wording, data, annotations, "all", require_all=False, note=say, bar=progress_bar(), leave_out=leave_out
    )
    return corpora.examples["train"]


def _role(name: str) -> Role:
    roles: dict[str, Role] = {"controller": "controller", "executor": "executor", "flat": "flat"}
    return roles[name]


@app.command()
def losses(
    role: RoleOption = "controller",
    prompt_format: FormatOption = "compact-reasons",
    base: BaseOption = Path("checkpoints/controller"),
    recipe: RecipeOption = Path("training/recipes/small-more.json"),
    seed: SeedOption = 21,
    leave_out: LeaveOutOption = None,
    rates: Annotated[str, typer.Option(help="Learning rates between commas.")] = "4e-4",
    updates: Annotated[int, typer.Option(help="Batches to look at, and updates of each rate.")] = 30,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16, as the training does.")] = True,
) -> None:
    """Print losses of the first batches, then of two samples.

    The first batches are measured as they are, the samples as training goes on.
    """
    settings = read_recipe(recipe, role, base=str(base), seed=seed)
    corpus = _corpus(role, prompt_format, leave_out)
    asis = _Trained(settings, corpus, bf16)
    table = Table("batch", "loss as it is", "examples with a reason", "their share of tokens", "loss without them")
    for number in range(updates):
        pairs = asis.batches[number]
        explained, plain = _split(pairs)
        share = asis.tokens(explained) / asis.tokens(pairs) if explained else 0.0
        rest = f"{asis.loss(plain):.3f}" if plain else ""
        table.add_row(str(number + 1), f"{asis.loss(pairs):.3f}", str(len(explained)), f"{share:.0%}", rest)
    _out.print(table)
    drawn = [pair for number in range(32, 64) for pair in asis.batches[number]]
    samples = [side[:_SAMPLE] for side in _split(drawn)]
    shown = Table("rate", "updates", "loss with a reason", "loss without")
    for rate in map(float, rates.split(",")):
        trained = _Trained(settings, corpus, bf16)
        for done in range(updates + 1):
            if done % 10 == 0 or done in (2, 5):
                shown.add_row(
                    f"{rate:g}", str(done), *(f"{trained.loss(side):.3f}" if side else "" for side in samples)
                )
            if done < updates:
                trained.update(trained.batches[done], rate * min(1.0, (done + 1) / _WARMUP))
    _out.print(shown)


def _split(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Pairs whose target has a reason, and the others."""
    explained = [pair for pair in pairs if REASON_END in pair[1]]
    return explained, [pair for pair in pairs if REASON_END not in pair[1]]


@app.command()
def speed(
    role: RoleOption = "controller",
    prompt_format: FormatOption = "compact-plain",
    base: BaseOption = Path("checkpoints/controller"),
    recipe: RecipeOption = Path("training/recipes/small-more.json"),
    batches: Annotated[str, typer.Option(help="Batch sizes between commas.")] = "16,32,64",
    updates: Annotated[int, typer.Option(help="Updates of each.")] = 12,
) -> None:
    """Time updates of one and the same batches with each attention and number type."""
    corpus = _corpus(role, prompt_format, None)
    table = Table("batch", "number type", "attention", "seconds an update", "examples a second")
    for batch in map(int, batches.split(",")):
        settings = read_recipe(recipe, role, base=str(base), batch=batch)
        for bf16, attention in product((True, False), ("eager", cpu_attention.NAME)):
            trained = _Trained(settings, corpus, bf16)
            suit_to_cpu(trained.model)
            trained.model.set_attn_implementation(attention)
            trained.update(trained.batches[0], 1e-5)  # kernels are made
            seconds = list(_timed(trained, updates))
            mean_seconds = sum(seconds) / len(seconds)
            name = "bfloat16" if bf16 else "float32"
            table.add_row(str(batch), name, attention, f"{mean_seconds:.2f}", f"{batch / mean_seconds:.0f}")
    _out.print(f"{torch.get_num_threads()} threads", table, sep="\n")


def _timed(trained: _Trained, updates: int) -> Iterator[float]:
    """Processor seconds of each update: they do not count what others take."""
    for number in range(updates):
        began = time.process_time()
        trained.update(trained.batches[number], 1e-5)
        yield time.process_time() - began


if __name__ == "__main__":
    app()
