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
    metrics.jsonl    a row at the steps that `is_reported` names and after each evaluation; the same in tensorboard/

A run stops at the first loss or gradient that is not finite, and saves nothing then. SIGINT, SIGTERM and SIGHUP end it
after the update, or in the middle of an evaluation, with its state saved.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from training import answer_losses
from training.batches import Batches, Pair
from training.cpu_kernels import suit_to_cpu
from training.datasets import Example
from training.devices import open_accelerator
from training.interruption import Interruption
from training.model import end_token, open_model, open_tokenizer, open_tokens, pad_token, plain_copy
from training.model_inputs import IGNORED, Tensors
from training.recipe import Recipe, has_state, require_same_recipe
from training.run_metrics import Metrics
from training.run_state import building, load_state, recover_folders, save_state, writing
from training.selection import DEV_SCORES, Baseline, DevScores, share_by_verb
from training.speed_meter import Meter
from training.truncation import Truncation, measure_truncation, require_whole
from waymark.errors import TrainingDiverged
from waymark.inference.tokens import Tokens, read_tokenizer
from waymark.operating_system.memory import keep_freed_memory

_REPORTED_FIRST = (1, 2, 5, 10, 20)
_REPORT_EVERY = 50
_DEV_BATCH = 64
_LOSSES = "losses.json"
_TOKENIZER = "tokenizer.json"


class _Stopped(Exception):
    """A signal has asked the run to stop."""


class Run:
    """One fine-tuning run in a folder. `train` may be killed at any time; a new Run in the same folder resumes.

    `save_minutes` is how much work a kill may cost; `interruption` is what stops `train` early. More than
    `max_truncated` (0 to 1) of the prompts or answers cut by the recipe's limits is refused. Raises InvalidInput and
    CheckpointError before anything is trained when recipe, folder, base model and devices do not fit together.
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
        max_truncated: float = 1.0,
        interruption: Interruption | None = None,
    ) -> None:
        self.folder = folder
        self.recipe = recipe
        self.steps = recipe.steps_for(len(train))
        self._save_seconds = 60 * save_minutes
        self._dev = dev[:: max(1, len(dev) // recipe.evaluated)]
        keep_freed_memory()
        self._accelerator = open_accelerator(recipe)
        self._devices = self._accelerator.num_processes
        require_same_recipe(recipe, folder)
        torch.manual_seed(recipe.seed)
        with self._accelerator.main_process_first():
            if self.main and folder.exists():
                recover_folders(folder)
            self.tokenizer = self._tokenizer(train)
            self.truncation: Truncation = measure_truncation(train, open_tokens(recipe, self.tokenizer), recipe)
            """How much of prompts and answers the recipe's limits cut."""
            require_whole(self.truncation, recipe, max_truncated)
            model = open_model(recipe, self.tokenizer)
            if self.main:  # all that is refused has been refused by now; the other processes read the tokenizer
                self._begin_folder()
        suit_to_cpu(model)
        if recipe.recompute:
            model.activation_checkpointing_enable({"use_reentrant": False})
        self._tensors = Tensors(Tokens(self.tokenizer, end_token(model)), recipe, pad_token(model))
        self.parameters = sum(weight.numel() for weight in model.parameters())
        """How many weights the model has, shared ones once."""
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.trained_parameters = sum(weight.numel() for weight in trained)
        optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, eps=1e-6)
        self.model, self._optimizer = self._accelerator.prepare(model, optimizer)
        self.baseline = Baseline.of(train, self._dev)
        self.step = 0
        self.best, self._stale, self._evaluation_due = DevScores(loss=math.inf, exact_match=-1.0), 0, False
        self._resume()
        self._interruption = interruption or Interruption()
        self._meter = Meter()
        self._corpus = train
        self._batches = Batches(train, recipe)
        self._metrics = Metrics(folder, recipe, step=self.step, wandb=wandb) if self.main else None

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return bool(self._accelerator.is_main_process)

    @property
    def devices(self) -> list[str]:
        """The device of each process, by rank: all of them are asked."""
        return [str(device) for device in gather_object([str(self._accelerator.device)])]

    @property
    def dtype(self) -> str:
        """What products are computed in; weights are float32."""
        return "bfloat16" if self._accelerator.mixed_precision == "bf16" else "float32"

    def train(self) -> Iterator[dict[str, float]]:
        """Train to the recipe's last step, yielding metrics after each step and each evaluation.

        While examples are weighed (`Recipe.hard`), the share of them that is done. Ends early, with the state saved,
        when a signal asks for it. Raises TrainingDiverged, with nothing saved, for a loss or a gradient that is not
        finite.
        """
        try:
            yield from self._train()
        except _Stopped:
            self._save_state()
        finally:
            if self._metrics is not None:
                self._metrics.close()

    def close(self) -> None:
        """Leave the group of processes, once all of them have come here.

        A process that ended while the group's threads still ran could be aborted, and its launcher would then call the
        whole run failed.
        """
        self._accelerator.wait_for_everyone()
        self._accelerator.end_training()

    def _train(self) -> Iterator[dict[str, float]]:
        hard, batches = False, self._batches
        losses: list[float] = []
        if self._evaluation_due:  # a signal came before it was made
            yield self._select()
        saved = time.monotonic()
        while self.step < self.steps and not self._stalled:
            if hard is not self.recipe.is_hard_at(self.step):
                hard = self.recipe.is_hard_at(self.step)
                if hard:
                    yield from self._weigh()
                batches = Batches(self._corpus, self.recipe, self._read_losses()) if hard else self._batches
            self._meter.begin()
            loss, norm, examples, tokens = self._update(batches)
            wish_to_save = time.monotonic() - saved >= self._save_seconds
            sums = self._summed(loss, norm, examples, tokens, self._interruption.signal is not None, wish_to_save)
            loss, norm = sums[0] / self._devices, sums[1] / self._devices
            self.step += 1
            self._require_finite(loss=loss, gradient_norm=norm)
            self._meter.updated(sums[2], sums[3])
            losses.append(loss)
            row = {
                "loss": loss,
                "gradient_norm": norm,
                "learning_rate": self.recipe.learning_rate_at(self.step - 1, self.steps),
            }
            row |= self._meter.rates(self.steps - self.step, self._evaluations_left())
            if is_reported(self.step):
                row["loss"] = sum(losses) / len(losses)
                losses.clear()
                yield self._log(**row)
            else:
                yield {"step": self.step, **row}
            self._evaluation_due = self.step % self.recipe.evaluate_every == 0 or self.step == self.steps
            if sums[4]:
                raise _Stopped
            if self._evaluation_due:
                yield self._select()
                saved = time.monotonic()
            elif sums[5]:
                self._save_state()
                saved = time.monotonic()

    def evaluate(self, corpus: Sequence[Example]) -> DevScores:
        """Teacher-forced loss and greedy exact match; the whole answer counts, end token included."""
        loss = torch.zeros(1, device=self._accelerator.device)
        right = torch.zeros(len(corpus), device=self._accelerator.device)
        for places, output, labels in self._read([(example.prompt, example.target) for example in corpus]):
            loss += output.loss * len(places)
            right[places] = answer_losses.right(self.recipe, output.logits, labels).float()
        (total,) = self._accelerator.reduce(loss, "sum").tolist()
        hits = [hit > 0 for hit in self._accelerator.reduce(right, "sum").tolist()]
        return DevScores(total / len(corpus), sum(hits) / len(corpus), share_by_verb(corpus, hits))

    def _weigh(self) -> Iterator[dict[str, float]]:
        """Measure how hard each example, renamed as usual, is for the model as it is; once a run."""
        kept = self.folder / _LOSSES
        if kept.exists() and has_state(self.folder):
            return
        losses = torch.zeros(len(self._corpus), device=self._accelerator.device)
        done = 0
        for places, output, labels in self._read(self._batches.once()):
            losses[places] = answer_losses.losses(self.recipe, output.logits, labels)
            done += len(places) * self._devices
            yield {"step": self.step, "weighed": min(1.0, done / len(losses))}
        summed = self._accelerator.reduce(losses, "sum").tolist()
        self._require_finite(loss=sum(summed))
        if self.main:
            kept.write_text(json.dumps([round(loss, 4) for loss in summed]))
        self._accelerator.wait_for_everyone()

    def _read_losses(self) -> list[float]:
        losses: list[float] = json.loads((self.folder / _LOSSES).read_text())
        return losses

    def _read(self, pairs: Sequence[Pair]) -> Iterator[tuple[list[int], Any, torch.Tensor]]:
        """Pass pairs forward in batches of like length, on each device its share: their places, output and labels.

        Raises _Stopped, on all devices after the same batch, when a signal asks for it.
        """
        self.model.eval()
        order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]))
        batches = [order[at : at + _DEV_BATCH] for at in range(0, len(order), _DEV_BATCH)]
        with torch.no_grad():
            # Devices that shard a model pass forward together, so each takes equally many batches; some do not count.
            for first in range(0, len(batches), self._devices):
                number = first + self._accelerator.process_index
                places = batches[min(number, len(batches) - 1)]
                inputs = self._inputs([pairs[place] for place in places])
                output = self.model(**inputs)
                if number < len(batches):
                    yield places, output, inputs["labels"]
                if self._summed(self._interruption.signal is not None)[0]:
                    raise _Stopped

    def save(self, folder: Path, scores: DevScores | None = None) -> None:
        """Write config.json, model.safetensors (bf16) and the tokenizer: what serving reads. Replaces the folder.

        `scores` are written beside them. Raises TrainingDiverged, and leaves the folder as it was, for weights that
        are not finite.
        """
        weights = self._accelerator.get_state_dict(self.model)
        if not self.main:
            return
        model = plain_copy(self._accelerator.unwrap_model(self.model), self.recipe, weights)
        for name, tensor in model.state_dict().items():
            if not tensor.isfinite().all():
                raise self._diverged(f"the weights {name} are not finite")
        with building(folder) as partial, writing(folder):
            model.save_pretrained(partial)
            (partial / "generation_config.json").unlink(missing_ok=True)
            if self.recipe.architecture == "causal":  # vLLM finds the tokenizer by its tokenizer_config.json
                end = self.tokenizer.id_to_token(model.config.eos_token_id)
                named: Any = PreTrainedTokenizerFast
                named(tokenizer_object=self.tokenizer, eos_token=end).save_pretrained(str(partial))
            self.tokenizer.save(str(partial / _TOKENIZER))
            if scores is not None:
                about = {"step": self.step, **asdict(scores), "majority": self.baseline.exact_match}
                (partial / DEV_SCORES).write_text(json.dumps(about, indent=1) + "\n")

    @property
    def _stalled(self) -> bool:
        return 0 < self.recipe.patience <= self._stale

    def _update(self, batches: Batches) -> tuple[float, float, int, int]:
        """One update of the weights: this device's mean loss, the norm of the gradient, its examples and tokens."""
        # Dropout follows from the seed and the step too, so that a resumed run is the one that was interrupted.
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.step) * 1_009 + self._accelerator.process_index)
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate_at(self.step, self.steps)
        self.model.train()
        total, norm = torch.zeros((), device=self._accelerator.device), None
        examples = tokens = 0
        first = self.step * self.recipe.accumulate + self._accelerator.process_index
        for number in range(first, (self.step + 1) * self.recipe.accumulate, self._devices):
            batch = batches[number]
            inputs = self._inputs(batch)
            with self._accelerator.accumulate(self.model):
                loss = self.model(**inputs).loss
                self._accelerator.backward(loss)
                if self._accelerator.sync_gradients:
                    norm = self._accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
                try:
                    self._optimizer.step()
                except RuntimeError as error:
                    if "overflow" not in str(error):
                        raise
                    raise self._diverged(f"an update is too large ({error})") from error
                self._optimizer.zero_grad(set_to_none=True)
            total += loss.detach() * self._devices / self.recipe.accumulate
            examples += len(batch)
            tokens += _count_tokens(inputs)
        return float(total), _plain_number(norm), examples, tokens

    def _summed(self, *values: float) -> list[float]:
        """Each value summed over all devices, which must call this together."""
        if self._devices == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float32, device=self._accelerator.device)
        sums: list[float] = self._accelerator.reduce(numbers, "sum").tolist()
        return sums

    def _require_finite(self, **values: float) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise self._diverged(f"the {name.replace('_', ' ')} is {value}")

    def _diverged(self, problem: str) -> TrainingDiverged:
        rate = self.recipe.learning_rate_at(max(0, self.step - 1), self.steps)
        kept = f"The weights kept before in {self.folder / 'best'} are untouched." if self.best.exact_match >= 0 else ""
        return TrainingDiverged(
            f"Training diverged at step {self.step}, learning rate {rate:.3g}: {problem}. {kept}".strip(),
            remedy="Set a lower learning_rate or a longer warmup in the recipe, and begin in another --run folder.",
            field="learning_rate",
        )

    def _evaluations_left(self) -> int:
        return math.ceil(self.steps / self.recipe.evaluate_every) - self.step // self.recipe.evaluate_every

    def _select(self) -> dict[str, float]:
        """Evaluate on dev, keep the weights if they are the best so far, and save the state."""
        self._meter.begin()
        scores = self.evaluate(self._dev)
        self._require_finite(dev_loss=scores.loss)
        self._stale = 0 if scores.is_better_than(self.best) else self._stale + 1
        if scores.replaces(self.best):
            self.save(self.folder / "best", scores)
            self.best = scores
        row = self._log(
            dev_loss=scores.loss,
            dev_exact_match=scores.exact_match,
            dev_majority=self.baseline.exact_match,
            **{f"dev_exact_match/{verb}": share for verb, share in scores.by_verb.items()},
        )
        self._evaluation_due = False
        self._save_state()
        self._meter.evaluated()
        return row

    def _inputs(self, batch: Sequence[Pair]) -> dict[str, Any]:
        device = self._accelerator.device
        tensors = self._tensors(batch)
        placed = {
            key: tensor.to(device) if isinstance(tensor, torch.Tensor) else tensor for key, tensor in tensors.items()
        }
        return {**placed, "use_cache": False}

    def _log(self, **values: float) -> dict[str, float]:
        return {"step": self.step} if self._metrics is None else self._metrics.log(self.step, **values)

    def _tokenizer(self, train: Sequence[Example]) -> Tokenizer:
        if has_state(self.folder) or not self.main:  # the main process comes first
            return read_tokenizer(self.folder / _TOKENIZER)
        texts = (text for example in train for text in (example.prompt, example.target))
        return open_tokenizer(self.recipe, texts)

    def _begin_folder(self) -> None:
        """Write what the run folder holds from the start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not has_state(self.folder):
            with writing(self.folder / _TOKENIZER):
                self.tokenizer.save(str(self.folder / _TOKENIZER))
        with writing(self.folder / "recipe.json"):
            (self.folder / "recipe.json").write_text(json.dumps(asdict(self.recipe), indent=1) + "\n")

    def _save_state(self) -> None:
        """Replace the last state, whole or not at all."""
        progress = {"step": self.step, "best": asdict(self.best), "stale": self._stale}
        progress["evaluation_due"] = self._evaluation_due
        save_state(self.folder, self._accelerator, self.model, self._optimizer, progress)

    def _resume(self) -> None:
        progress = load_state(
            self.folder, self._accelerator, self.model, self._optimizer, adapters=bool(self.recipe.lora_rank)
        )
        if progress is None:
            return
        self.step = progress["step"]
        self.best = DevScores(**progress["best"])
        self._stale = progress["stale"]
        self._evaluation_due = progress.get("evaluation_due", False)


def is_reported(step: int) -> bool:
    """Whether the metrics of a step are kept: some of the first ones, then every 50th."""
    return step in _REPORTED_FIRST or step % _REPORT_EVERY == 0


def _count_tokens(inputs: dict[str, Any]) -> int:
    """Tokens of prompts and answers in a batch, without padding."""
    read = int(inputs["attention_mask"].sum())
    return read if "position_ids" in inputs else read + int((inputs["labels"] != IGNORED).sum())


def _plain_number(norm: Any) -> float:
    """The norm of a gradient; 0 where the library that shards the model does not tell."""
    if norm is None:
        return 0.0
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
