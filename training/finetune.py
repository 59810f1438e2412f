"""Fine-tuning of one role's model: a loop that may be killed at any time and goes on where it was.

One loop for a CPU, a GPU and many: AdamW, linear warm-up and cosine decay, bf16 autocast where the device computes in
it, gradient accumulation, batches of similar length. `accelerate launch` spreads an update's forward passes over
devices; a recipe means the same on one and on many. The run folder holds the last state, the best checkpoint by dev
and the metrics.
Selection is on dev variations, never on test.

    recipe.json      all that decides the run besides its data
    tokenizer.json
    state.pt         weights, optimizer and step (with sharded weights a folder, state/, that accelerate writes)
    best/            the best checkpoint by dev: config.json, model.safetensors (bf16), tokenizer.json
    metrics.jsonl    a row every 50 steps and after each evaluation; the same in tensorboard/
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, broadcast_object_list
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from training.batches import Batches, Pair, Tensors
from training.datasets import Example
from training.metrics import Metrics
from training.model import end_token, open_model, open_tokenizer, pad_token, plain_copy
from training.recipe import Recipe, has_state, require_same_model
from waymark.errors import InvalidInput
from waymark.generation.tokens import Tokens
from waymark.process import keep_freed_memory

_REPORT_EVERY = 50
_DEV_BATCH = 64
_LOSSES = "losses.json"
_SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)


@dataclass(frozen=True)
class DevScores:
    """Offline scores on dev: teacher-forced loss in nats a token, and exact match of greedy answers, 0 to 1."""

    loss: float
    exact_match: float


class Run:
    """One fine-tuning run in a folder. `train` may be killed at any time; a new Run in the same folder resumes.

    `save_minutes` is how much work a kill may cost. Raises InvalidInput and CheckpointError before anything is
    trained when recipe, folder, base model and devices do not fit together.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        train: Sequence[Example],
        dev: Sequence[Example],
        *,
        save_minutes: float = 5.0,
        wandb: str = "",
    ) -> None:
        self.folder = folder
        self.recipe = recipe
        self.steps = recipe.steps_for(len(train))
        self._save_seconds = 60 * save_minutes
        self._dev = dev[:: max(1, len(dev) // recipe.evaluated)]
        keep_freed_memory()
        self._accelerator = _accelerator(recipe)
        self._devices = self._accelerator.num_processes
        require_same_model(recipe, folder)
        torch.manual_seed(recipe.seed)
        with self._accelerator.main_process_first():
            folder.mkdir(parents=True, exist_ok=True)
            self.tokenizer = self._tokenizer(train)
            model = open_model(recipe, self.tokenizer)
        if self.main:
            (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
        if recipe.recompute:
            model.activation_checkpointing_enable({"use_reentrant": False})
        self._tensors = Tensors(Tokens(self.tokenizer, end_token(model)), recipe, pad_token(model))
        self.parameters = sum(weight.numel() for weight in model.parameters())
        """How many weights the model has, shared ones once."""
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.trained_parameters = sum(weight.numel() for weight in trained)
        optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, eps=1e-6)
        self.model, self._optimizer = self._accelerator.prepare(model, optimizer)
        self.step = 0
        self.forget_best()
        self._resume()
        self._corpus = train
        self._batches = Batches(train, recipe)
        self._metrics = Metrics(folder, recipe, step=self.step, wandb=wandb) if self.main else None

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return bool(self._accelerator.is_main_process)

    def train(self) -> Iterator[dict[str, float]]:
        """Train to the recipe's last step, yielding metrics every 50 steps and after each evaluation.

        While examples are weighed (`Recipe.hard`), the share of them that is done.
        """
        hard, batches = False, self._batches
        saved = began = time.monotonic()
        losses: list[torch.Tensor] = []
        seen = 0
        while self.step < self.steps and not self._stalled:
            if hard is not self.recipe.is_hard_at(self.step):
                hard = self.recipe.is_hard_at(self.step)
                if hard:
                    yield from self._weigh()
                batches = Batches(self._corpus, self.recipe, self._read_losses()) if hard else self._batches
            loss, examples = self._update(batches)
            losses.append(loss)
            seen += examples
            self.step += 1
            if self.step % _REPORT_EVERY == 0:
                mean = float(self._accelerator.reduce(torch.stack(losses).mean(), "mean"))
                speed = seen * self._devices / (time.monotonic() - began)
                yield self._log(loss=mean, examples_per_second=speed, learning_rate=self._rate(self.step - 1))
                began, seen = time.monotonic(), 0
                losses.clear()
            if self.step % self.recipe.evaluate_every == 0 or self.step == self.steps:
                yield self._select()
                saved = began = time.monotonic()
                seen = 0
                losses.clear()
            elif self._agree(time.monotonic() - saved >= self._save_seconds):
                self._save_state()
                saved = time.monotonic()
        if self._metrics is not None:
            self._metrics.close()

    def forget_best(self) -> None:
        """Take the next evaluation for the best so far: what was measured on other data cannot be compared with it."""
        self.best, self._stale = DevScores(loss=math.inf, exact_match=-1.0), 0

    def evaluate(self, corpus: Sequence[Example]) -> DevScores:
        """Teacher-forced loss and greedy exact match; the whole answer counts, end token included."""
        sums = torch.zeros(2, device=self._accelerator.device)
        for places, output, labels in self._read([(one.prompt, one.target) for one in corpus]):
            sums[0] += output.loss * len(places)
            sums[1] += self._tensors.right(output.logits, labels).sum()
        loss, hits = self._accelerator.reduce(sums, "sum").tolist()
        return DevScores(loss=loss / len(corpus), exact_match=hits / len(corpus))

    def _weigh(self) -> Iterator[dict[str, float]]:
        """Measure how hard each example, renamed as usual, is for the model as it is; once a run."""
        kept = self.folder / _LOSSES
        if kept.exists() and has_state(self.folder):
            return
        losses = torch.zeros(len(self._corpus), device=self._accelerator.device)
        done = 0
        for places, output, labels in self._read(self._batches.once()):
            losses[places] = self._tensors.losses(output.logits, labels)
            done += len(places) * self._devices
            yield {"step": self.step, "weighed": min(1.0, done / len(losses))}
        every = self._accelerator.reduce(losses, "sum").tolist()
        if self.main:
            kept.write_text(json.dumps([round(loss, 4) for loss in every]))
        self._accelerator.wait_for_everyone()

    def _read_losses(self) -> list[float]:
        losses: list[float] = json.loads((self.folder / _LOSSES).read_text())
        return losses

    def _read(self, pairs: Sequence[Pair]) -> Iterator[tuple[list[int], Any, torch.Tensor]]:
        """Pass pairs forward in batches of like length, on each device its share: their places, output and labels."""
        self.model.eval()
        order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]))
        batches = [order[at : at + _DEV_BATCH] for at in range(0, len(order), _DEV_BATCH)]
        with torch.no_grad():
            # Devices that shard a model pass forward together, so each takes as many batches; some count for none.
            for first in range(0, len(batches), self._devices):
                number = first + self._accelerator.process_index
                places = batches[min(number, len(batches) - 1)]
                inputs = self._inputs([pairs[place] for place in places])
                output = self.model(**inputs)
                if number < len(batches):
                    yield places, output, inputs["labels"]

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors (bf16) and the tokenizer: what serving reads. Replaces the folder."""
        weights = self._accelerator.get_state_dict(self.model)
        if not self.main:
            return
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        model = plain_copy(self._accelerator.unwrap_model(self.model), self.recipe, weights)
        model.save_pretrained(partial)
        (partial / "generation_config.json").unlink(missing_ok=True)
        if self.recipe.architecture == "causal":  # vLLM finds the tokenizer by its tokenizer_config.json
            end = self.tokenizer.id_to_token(model.config.eos_token_id)
            named: Any = PreTrainedTokenizerFast
            named(tokenizer_object=self.tokenizer, eos_token=end).save_pretrained(str(partial))
        self.tokenizer.save(str(partial / "tokenizer.json"))
        _replace(partial, folder)

    @property
    def _stalled(self) -> bool:
        return 0 < self.recipe.patience <= self._stale

    def _update(self, batches: Batches) -> tuple[torch.Tensor, int]:
        """One update of the weights; the mean loss, and how many examples this device saw."""
        # Dropout follows from the seed and the step too, so that a resumed run is the one that was interrupted.
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.step) * 1_009 + self._accelerator.process_index)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        self.model.train()
        total, seen = torch.zeros((), device=self._accelerator.device), 0
        first = self.step * self.recipe.accumulate + self._accelerator.process_index
        for number in range(first, (self.step + 1) * self.recipe.accumulate, self._devices):
            batch = batches[number]
            with self._accelerator.accumulate(self.model):
                loss = self.model(**self._inputs(batch)).loss
                self._accelerator.backward(loss)
                if self._accelerator.sync_gradients:
                    self._accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=True)
            total += loss.detach() * self._devices / self.recipe.accumulate
            seen += len(batch)
        return total, seen

    def _select(self) -> dict[str, float]:
        """Evaluate on dev, keep the weights if they are the best so far, and save the state."""
        scores = self.evaluate(self._dev)
        better = scores.exact_match > self.best.exact_match
        self._stale = 0 if better else self._stale + 1
        if better:
            self.best = scores
            self.save(self.folder / "best")
        row = self._log(dev_loss=scores.loss, dev_exact_match=scores.exact_match)
        self._save_state()
        return row

    def _rate(self, step: int) -> float:
        """The learning rate of an update."""
        recipe = self.recipe
        if step < recipe.warmup:
            return recipe.learning_rate * (step + 1) / recipe.warmup
        progress = (step - recipe.warmup) / max(1, self.steps - recipe.warmup)
        return recipe.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))

    def _inputs(self, batch: Sequence[Pair]) -> dict[str, Any]:
        device = self._accelerator.device
        tensors = self._tensors(batch)
        placed = {key: one.to(device) if isinstance(one, torch.Tensor) else one for key, one in tensors.items()}
        return {**placed, "use_cache": False}

    def _agree(self, wish: bool) -> bool:
        """The main process's wish, everywhere: clocks differ, and a sharded state is saved by all together."""
        if self._accelerator.distributed_type not in _SHARDED:
            return wish
        wishes = [wish]
        broadcast_object_list(wishes)
        return wishes[0]

    def _log(self, **values: float) -> dict[str, float]:
        return {"step": self.step} if self._metrics is None else self._metrics.log(self.step, **values)

    def _tokenizer(self, train: Sequence[Example]) -> Tokenizer:
        kept = self.folder / "tokenizer.json"
        if has_state(self.folder) or not self.main:  # the main process comes first
            return Tokenizer.from_file(str(kept))
        texts = (text for example in train for text in (example.prompt, example.target))
        tokenizer = open_tokenizer(self.recipe, texts)
        tokenizer.save(str(kept))
        return tokenizer

    def _save_state(self) -> None:
        """Replace the last state, whole or not at all."""
        progress = {"step": self.step, "best": asdict(self.best), "stale": self._stale}
        if self._accelerator.distributed_type in _SHARDED:
            partial = self.folder / "state.partial"
            self._accelerator.save_state(str(partial))
            if self.main:
                (partial / "progress.json").write_text(json.dumps(progress))
                _replace(partial, self.folder / "state")
            self._accelerator.wait_for_everyone()
        elif self.main:
            model = self._accelerator.unwrap_model(self.model)
            every = model.named_parameters(remove_duplicate=False)
            frozen = {name for name, weight in every if not weight.requires_grad}
            weights = {name: one for name, one in model.state_dict().items() if name not in frozen}
            partial = self.folder / "state.pt.partial"
            torch.save({"model": weights, "optimizer": self._optimizer.state_dict(), **progress}, partial)
            os.replace(partial, self.folder / "state.pt")

    def _resume(self) -> None:
        if self._accelerator.distributed_type in _SHARDED:
            folder = self.folder / "state"
            if not folder.exists():
                return
            self._accelerator.load_state(str(folder))
            progress = json.loads((folder / "progress.json").read_text())
        else:
            path = self.folder / "state.pt"
            if not path.exists():
                return
            progress = torch.load(path, map_location=self._accelerator.device, weights_only=True)
            model = self._accelerator.unwrap_model(self.model)
            # Adapters are saved without the frozen weights of their base.
            model.load_state_dict(progress["model"], strict=not self.recipe.lora_rank)
            self._optimizer.load_state_dict(progress["optimizer"])
        self.step = progress["step"]
        self.best = DevScores(**progress["best"])
        self._stale = progress["stale"]


def _accelerator(recipe: Recipe) -> Accelerator:
    """This process's part in the run: one of one, or what `accelerate launch` has set up."""
    accelerator = Accelerator(mixed_precision="bf16" if _is_bf16_fast() else "no")
    if recipe.accumulate % accelerator.num_processes:
        raise InvalidInput(
            f"The recipe accumulates {recipe.accumulate} forward passes, which {accelerator.num_processes} devices "
            "cannot share evenly.",
            remedy="Choose accumulate as a multiple of the devices; batch × accumulate is what an update sees.",
            field="accumulate",
        )
    accelerator.gradient_accumulation_steps = recipe.accumulate // accelerator.num_processes
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        accelerator.state.deepspeed_plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = recipe.batch
    return accelerator


def _is_bf16_fast() -> bool:
    """Whether the device computes in bf16 itself. A processor that does not takes thirty times as long over it as over
    float32 (docs/log.md)."""
    able = torch.cpu.get_capabilities()
    return torch.accelerator.is_available() or any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _replace(partial: Path, folder: Path) -> None:
    """Put a complete folder where an older one may stand."""
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
