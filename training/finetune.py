"""Fine-tuning of encoder-decoder models on one role's dataset, from scratch or from a pretrained folder or hub name.

One loop for a CPU and a GPU: AdamW, linear warm-up and cosine decay, bf16 autocast, gradient accumulation,
batches of similar length drawn with a sampling temperature over task types, consistent renaming. The run
folder holds the last state (resumed from after a kill), the best checkpoint by dev and a log of metrics.
Selection is on dev variations, never on test.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from training.datasets import Example
from training.renaming import Renamer
from training.tokenizer import END, PAD, train_tokenizer
from waymark.generation.tokens import Tokens

_IGNORED = -100
_ROUND = 16
_NEIGHBOURS = (1, 17, 2, 18)
"""T5's buckets of relative position: the word before, after, two before, two after."""
_NEIGHBOUR_BIAS = 6.0


@dataclass(frozen=True)
class Recipe:
    """All that decides a run besides its data."""

    base: str = ""
    """Folder or hub name of a pretrained model, e.g. `google/flan-t5-large`; empty: from scratch."""
    vocabulary: int = 2048
    width: int = 256
    feedforward: int = 512
    heads: int = 8
    encoder_layers: int = 4
    decoder_layers: int = 2
    steps: int = 4000
    batch: int = 64
    """Examples that one forward pass sees."""
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.01
    dropout: float = 0.05
    max_input_tokens: int = 512
    max_new_tokens: int = 40
    temperature: float = 2.0
    """Task types are drawn with probability count^(1/temperature); 1: as they come."""
    rename: float = 0.3
    """Share of examples whose names are replaced consistently."""
    drills: int = 0
    """Batches of copying drills before each batch of examples: the instruction alone, renamed. Models from
    scratch learn names as labels without them."""
    evaluate_every: int = 500
    evaluated: int = 600
    """Dev examples that are looked at, evenly spread over dev."""
    patience: int = 0
    """Stop after this many evaluations without a better dev score; 0: never."""
    seed: int = 0


@dataclass(frozen=True)
class DevScores:
    """Offline scores on dev: teacher-forced loss in nats a token, and exact match of greedy answers, 0 to 1."""

    loss: float
    exact_match: float


class Run:
    """One fine-tuning run in a folder. `train` may be killed at any time; a new Run in the same folder resumes."""

    def __init__(self, folder: Path, recipe: Recipe, train: Sequence[Example], dev: Sequence[Example]) -> None:
        self.folder = folder
        self.recipe = recipe
        self._train = train
        self._dev = dev[:: max(1, len(dev) // recipe.evaluated)]
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(recipe.seed)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
        self.tokenizer = self._tokenizer()
        # transformers' annotations of its own classes contradict what they do, hence Any.
        self.model: Any = self._model().to(self._device)
        self._pad: int = self.model.config.pad_token_id
        self._tokens = Tokens(self.tokenizer, self.model.config.eos_token_id)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, eps=1e-6
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, self._rate)
        self.step = 0
        self.best = DevScores(loss=math.inf, exact_match=-1.0)
        self._stale = 0
        self._resume()

    @property
    def parameters(self) -> int:
        """How many weights the model has, shared ones once."""
        return sum(weight.numel() for weight in self.model.parameters())

    def train(self) -> Iterator[dict[str, float]]:
        """Train to the recipe's last step, yielding metrics every 50 steps and after each evaluation."""
        batches = self._batches(start=self.step)
        began, seen, loss_sum = time.monotonic(), 0, 0.0
        while self.step < self.recipe.steps:
            self.model.train()
            for _ in range(self.recipe.accumulate):
                batch = next(batches)
                with torch.autocast(self._device.type, dtype=torch.bfloat16):
                    loss = self.model(**self._tensors(batch)).loss / self.recipe.accumulate
                loss.backward()
                loss_sum += float(loss.detach())
                seen += len(batch)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self._optimizer.step()
            self._schedule.step()
            self._optimizer.zero_grad(set_to_none=True)
            self.step += 1
            if self.step % 50 == 0:
                yield self._log(loss=loss_sum / 50, examples_per_second=seen / (time.monotonic() - began))
                began, seen, loss_sum = time.monotonic(), 0, 0.0
            if self.step % self.recipe.evaluate_every == 0 or self.step == self.recipe.steps:
                scores = self.evaluate(self._dev)
                better = scores.exact_match > self.best.exact_match
                self._stale = 0 if better else self._stale + 1
                if better:
                    self.best = scores
                    self.save(self.folder / "best")
                self._save_state()
                yield self._log(dev_loss=scores.loss, dev_exact_match=scores.exact_match)
                if self.recipe.patience and self._stale >= self.recipe.patience:
                    return
                began, seen, loss_sum = time.monotonic(), 0, 0.0

    def evaluate(self, corpus: Sequence[Example]) -> DevScores:
        """Teacher-forced loss and greedy exact match; the whole answer counts, end token included."""
        self.model.eval()
        losses, hits = 0.0, 0
        ordered = sorted(corpus, key=lambda example: len(example.prompt))
        with torch.inference_mode(), torch.autocast(self._device.type, dtype=torch.bfloat16):
            for start in range(0, len(ordered), 64):
                batch = [(example.prompt, example.target) for example in ordered[start : start + 64]]
                tensors = self._tensors(batch)
                output = self.model(**tensors)
                losses += float(output.loss) * len(batch)
                # An answer is right token by token under teacher forcing exactly when greedy search gives it.
                wanted = tensors["labels"]
                right = (output.logits.argmax(-1) == wanted) | (wanted == _IGNORED)
                hits += int(right.all(dim=1).sum())
        return DevScores(loss=losses / len(corpus), exact_match=hits / len(corpus))

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors (bf16) and tokenizer.json: what serving reads."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        half = self.model.__class__(self.model.config).to(torch.bfloat16)
        half.load_state_dict(weights)
        half.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        self.tokenizer.save(str(folder / "tokenizer.json"))

    def _tokenizer(self) -> Tokenizer:
        kept = self.folder / "tokenizer.json"
        if kept.exists():
            return Tokenizer.from_file(str(kept))
        base = self.recipe.base
        if (Path(base) / "tokenizer.json").exists():
            tokenizer = Tokenizer.from_file(str(Path(base) / "tokenizer.json"))
        elif base:
            tokenizer = AutoTokenizer.from_pretrained(base).backend_tokenizer
        else:
            texts = (text for example in self._train for text in (example.prompt, example.target))
            tokenizer = train_tokenizer(texts, self.recipe.vocabulary)
        tokenizer.save(str(kept))
        return tokenizer

    def _model(self) -> Any:
        recipe = self.recipe
        if recipe.base:
            model = AutoModelForSeq2SeqLM.from_pretrained(recipe.base, dtype=torch.float32, use_safetensors=True)
            model.config.dropout_rate = recipe.dropout
            return model
        config: Any = T5Config
        model = T5ForConditionalGeneration(
            config(
                vocab_size=self.tokenizer.get_vocab_size(),
                d_model=recipe.width,
                d_ff=recipe.feedforward,
                d_kv=recipe.width // recipe.heads,
                num_heads=recipe.heads,
                num_layers=recipe.encoder_layers,
                num_decoder_layers=recipe.decoder_layers,
                dropout_rate=recipe.dropout,
                feed_forward_proj="gated-gelu",
                tie_word_embeddings=True,
                pad_token_id=self.tokenizer.token_to_id(PAD),
                eos_token_id=self.tokenizer.token_to_id(END),
                decoder_start_token_id=self.tokenizer.token_to_id(PAD),
            )
        )

        _begin_copying(model)
        return model

    def _rate(self, step: int) -> float:
        recipe = self.recipe
        if step < recipe.warmup:
            return (step + 1) / recipe.warmup
        progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def _batches(self, start: int) -> Iterator[list[tuple[str, str]]]:
        """Endless batches of similar length; the seed and the step decide what comes, also after a resume."""
        recipe = self.recipe
        by_task: dict[str, list[Example]] = {}
        for example in self._train:
            by_task.setdefault(example.task_id, []).append(example)
        tasks = sorted(by_task)
        weights = [len(by_task[task]) ** (1 / recipe.temperature) for task in tasks]
        rename = Renamer(self._train, share=recipe.rename, seed=recipe.seed + start)
        draw = random.Random(recipe.seed * 1_000_003 + start)
        drillable = [example for example in self._train if rename.drill(example)] if recipe.drills else []
        while True:
            chosen = [draw.choice(by_task[task]) for task in draw.choices(tasks, weights, k=recipe.batch * 32)]
            pairs = sorted((rename(example) for example in chosen), key=lambda pair: len(pair[0]))
            batches = [pairs[at : at + recipe.batch] for at in range(0, len(pairs), recipe.batch)]
            draw.shuffle(batches)
            for batch in batches:
                for _ in range(recipe.drills):
                    drills = map(rename.drill, draw.choices(drillable, k=recipe.batch))
                    yield [drill for drill in drills if drill]
                yield batch

    def _tensors(self, batch: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
        """Prompts and answers as rectangles of token ids, cut where serving cuts them."""
        recipe = self.recipe
        sources = [self._tokens.prompt(prompt, recipe.max_input_tokens).ids for prompt, _ in batch]
        targets = [self._tokens.prompt(target, recipe.max_new_tokens).ids for _, target in batch]
        ids = _rectangle(sources, self._pad)
        return {
            "input_ids": ids.to(self._device),
            "attention_mask": ids.ne(self._pad).long().to(self._device),
            "labels": _rectangle(targets, _IGNORED).to(self._device),
        }

    def _log(self, **metrics: float) -> dict[str, float]:
        row = {"step": self.step, "time": time.time(), **metrics}
        with (self.folder / "metrics.jsonl").open("a") as out:
            out.write(json.dumps(row) + "\n")
        return row

    def _save_state(self) -> None:
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "step": self.step,
            "best": asdict(self.best),
            "stale": self._stale,
        }
        partial = self.folder / "state.pt.partial"
        torch.save(state, partial)
        os.replace(partial, self.folder / "state.pt")

    def _resume(self) -> None:
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self._device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self.step = state["step"]
        self.best = DevScores(**state["best"])
        self._stale = state["stale"]


def _begin_copying(model: Any) -> None:
    """Start a fresh T5 as one that copies: four encoder heads look at the neighbours, cross-attention passes words on.

    A word is copied by finding the one after the word written last, so the encoder must mark each word with its
    neighbour, and the decoder must hand the word that it finds to the (tied) output. From a random start both are
    learnt late: a relative bias grows by at most the learning rate a step. Measured in docs/log.md.
    """
    with torch.no_grad():
        bias = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        for head, bucket in zip(range(bias.shape[1]), _NEIGHBOURS, strict=False):
            bias[bucket, head] += _NEIGHBOUR_BIAS
        for block in model.decoder.block:
            attention = block.layer[1].EncDecAttention
            torch.nn.init.eye_(attention.v.weight)
            torch.nn.init.eye_(attention.o.weight)


def _rectangle(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Token ids, rows x width, padded on the right to a round width: few shapes, so kernels are made once."""
    width = -(-max(len(row) for row in rows) // _ROUND) * _ROUND
    return torch.tensor([[*row, *([value] * (width - len(row)))] for row in rows])
