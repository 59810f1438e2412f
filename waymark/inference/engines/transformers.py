"""The reference engine: encoder-decoders and decoder-only models on PyTorch, CPU or CUDA. All others are held to it.

The only import of torch and transformers outside of training. Weights are read from safetensors only, and no
code that comes with a model is ever run.

A prompt is read once: `_Read` keeps the attention's keys and values and the logits of the first answer token. A greedy
answer and every scored candidate continue from there. Only beam search is the library's own.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig
from transformers.cache_utils import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from waymark.errors import CheckpointError, EngineUnavailable
from waymark.inference import Candidate, Encoded, Generation, Prompt, Steps, to_the_end
from waymark.inference.tokens import Tokens, read_tokenizer
from waymark.operating_system.cpu_cores import available_cores

_DTYPES = ("float32", "bfloat16", "float16")
_BATCH_TOKENS = 16_384
"""Prompt tokens, padding included, that go through the model at once."""
_SCORED_TOKENS = 4_096
"""Tokens of candidates, including padding, that are scored at once: some tenths of a second of a small model on a
CPU."""
_SCORED_AT_ONCE = 64
"""Candidates that are scored at once; each needs a copy of its prompt's keys and values."""


_SHOWN = 300
"""Characters of the library's text that an error quotes."""


def load_seq2seq(model: str, *, dtype: str) -> Any:
    """A frozen encoder-decoder from a local folder, or by its name on the Hugging Face hub.

    Raises CheckpointError when it is unreadable or has no safetensors.
    """
    return _load(AutoModelForSeq2SeqLM, model, dtype, "an encoder-decoder")


def load_causal(model: str, *, dtype: str) -> Any:
    """A frozen decoder-only model, as `load_seq2seq`."""
    return _load(AutoModelForCausalLM, model, dtype, "a causal model")


def _load(auto: Any, model: str, dtype: str, kind: str) -> Any:
    try:
        loaded, report = auto.from_pretrained(
            model,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=Path(model).is_dir(),
            output_loading_info=True,
        )
    except Exception as error:  # a config.json of anybody's makes the library raise errors of any kind
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:_SHOWN]
        raise CheckpointError(
            f"Cannot load the model {model}: {reason}",
            remedy=f"It must be {kind} with config.json and model.safetensors.",
        ) from error
    if missing := sorted(report["missing_keys"]):  # the library would start these at random
        raise CheckpointError(
            f"The weights of {model} lack {missing[0]}, which its config.json describes.",
            remedy="Keep the config.json that the weights were saved with.",
        )
    return loaded.requires_grad_(False).eval()


@dataclass(frozen=True, slots=True)
class _Read:
    """A batch of prompts after the model has read them."""

    prompts: list[Encoded]
    mask: torch.Tensor
    """(prompts, length), 1 where there is a token."""
    logits: torch.Tensor
    """(prompts, vocabulary): logits of the first token of an answer."""
    cache: Any
    """The attention's keys and values."""


class TransformersGenerator(ABC):
    """Implements `waymark.inference.Generator`; subclasses add what differs between the two architectures.

    `model` is a folder or a name on the hub; `device` is `auto`, `cpu` or `cuda`; `dtype` is `float32`,
    `bfloat16` or `float16`, `auto` for float32 on a CPU and bfloat16 on CUDA.
    """

    def __init__(
        self,
        model: str,
        *,
        max_input_tokens: int,
        max_new_tokens: int,
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
    ) -> None:
        cuda = torch.cuda.is_available()
        self._device = ("cuda" if cuda else "cpu") if device == "auto" else device
        if self._device.startswith("cuda") and not cuda:
            raise EngineUnavailable("No CUDA device is visible to PyTorch.", remedy="Use WAYMARK_DEVICE=cpu.")
        self._dtype = ("float32" if self._device == "cpu" else "bfloat16") if dtype == "auto" else dtype
        if self._dtype not in _DTYPES:
            raise EngineUnavailable(
                f"The transformers engine has no dtype {dtype!r}.", remedy=f"Use auto or {', '.join(_DTYPES)}."
            )
        torch.set_num_threads(threads or available_cores())
        loaded = self._load(model)
        try:
            self._model = loaded.to(self._device)
        except RuntimeError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise EngineUnavailable(
                f"PyTorch refuses device {self._device!r}: {reason}.", remedy="Use WAYMARK_DEVICE=auto, cpu or cuda."
            ) from error
        config = self._model.config
        self._pad, self._end = config.pad_token_id, config.eos_token_id
        self._tokens = Tokens(_tokenizer(model), self._end)
        self._limit = max_input_tokens
        self._max_new_tokens = max_new_tokens
        # A checkpoint may bring generation defaults of its own (sampling, penalties): none of them apply.
        self._model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            pad_token_id=self._pad,
            eos_token_id=self._end,
            decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
        )

    @abstractmethod
    def _load(self, model: str) -> Any:
        """The weights, on the CPU."""

    @abstractmethod
    def _batch(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, both (prompts, length)."""

    @abstractmethod
    def _read(self, prompts: list[Encoded]) -> _Read:
        """Pass a batch of prompts through the model."""

    @abstractmethod
    def _go_on(self, read: _Read, owners: torch.Tensor, cache: Any, ids: torch.Tensor) -> torch.Tensor:
        """Logits (rows, new, vocabulary) after new tokens `ids` (rows, new); `cache` grows by them.

        `owners` (rows) tells which prompt of those read each row goes on from.
        """

    @property
    def engine(self) -> str:
        """`transformers`."""
        return "transformers"

    @property
    def dtype(self) -> str:
        """What it computes in, e.g. `float32`."""
        return self._dtype

    def encode(self, prompts: Sequence[Prompt]) -> list[Encoded]:
        """Tokenise ahead; may run beside the other methods."""
        return self._tokens.prompts(prompts, self._limit)

    def pieces(self, answer: str, prompt: Prompt) -> list[str]:
        """What each token adds to an answer."""
        return self._tokens.pieces(answer, *self.encode([prompt]))

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        """The `n` most likely answers to each prompt: greedy for 1, beam search of width n for more."""
        encoded = self.encode(prompts)
        generations: dict[int, Generation] = {}
        for places in _batches(encoded, n):
            batch = [encoded[place] for place in places]
            answers = self._greedy(self._read(batch)) if n == 1 else self._beams(batch, n)
            generations |= zip(places, answers, strict=True)
        return [generations[place] for place in range(len(encoded))]

    @property
    def rereads_prompt(self) -> bool:
        """It is read once for all of its candidates."""
        return False

    @property
    def candidate_weight(self) -> int:
        """It reads both at once."""
        return 1

    @property
    def parallel_batches(self) -> int:
        """PyTorch uses all cores, or the whole device, for one batch."""
        return 1

    def score(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> list[Generation]:
        """The `n` best of each prompt's own candidates, best mean first."""
        return to_the_end(self.score_in_steps(prompts, candidates, n=n))

    def score_in_steps(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> Steps:
        """As many candidates at a step as go through the model at once."""
        encoded = self.encode(prompts)
        generations: dict[int, Generation] = {}
        for places in _batches(encoded, 1):
            with torch.inference_mode():
                read = self._read([encoded[place] for place in places])
            texts = [candidates[place] for place in places]
            rows = [
                (owner, [*self._tokens.target(text, prompt), self._end])
                for owner, prompt in enumerate(read.prompts)
                for text in texts[owner]
            ]
            read_rows: list[list[float]] = []
            for chunk in _chunks(rows):
                if read_rows or generations:
                    yield sum(len(ids) for _, ids in chunk)
                with torch.inference_mode():
                    read_rows += self._logprobs(read, chunk)
            logprobs = iter(read_rows)
            for place, prompt, texts_of_prompt in zip(places, read.prompts, texts, strict=True):
                scored = [_candidate(text, next(logprobs)) for text in texts_of_prompt]
                scored.sort(key=lambda candidate: candidate.mean_logprob, reverse=True)
                generations[place] = Generation.of(prompt, scored[:n])
        return [generations[place] for place in range(len(encoded))]

    def close(self) -> None:
        """Free the weights. Idempotent."""
        self._model = None

    def _greedy(self, read: _Read) -> list[Generation]:
        """The most likely token after the most likely token; an answer that has ended leaves the batch."""
        written: list[list[int]] = [[] for _ in read.prompts]
        sums = [0.0] * len(written)
        going = torch.arange(len(written), device=self._device)
        cache, logits = read.cache, read.logits
        for _ in range(self._max_new_tokens):
            best = logits.float().log_softmax(-1).max(-1)
            for owner, token, logprob in zip(going.tolist(), best.indices.tolist(), best.values.tolist(), strict=True):
                written[owner].append(token)
                sums[owner] += logprob
            left = (best.indices != self._end).nonzero()[:, 0]
            if not len(left):
                break
            if len(left) < len(going):
                going = going[left]
                cache.batch_select_indices(left)
            logits = self._go_on(read, going, cache, best.indices[left, None])[:, -1]
        return [
            Generation.of(prompt, [Candidate(self._tokens.text(ids, prompt), total, len(ids))])
            for prompt, ids, total in zip(read.prompts, written, sums, strict=True)
        ]

    def _beams(self, prompts: list[Encoded], n: int) -> list[Generation]:
        ids, mask = self._batch(prompts)
        # With sums as scores, no early stopping means: until no unfinished answer can enter the best n.
        output = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            num_beams=n,
            num_return_sequences=n,
            length_penalty=0.0,
            early_stopping=False,
            max_new_tokens=self._max_new_tokens,
            return_dict_in_generate=True,
            output_scores=True,
        )
        opening = 1 if self._model.config.is_encoder_decoder else ids.shape[1]
        rows = [self._until_end(row) for row in output.sequences[:, opening:].tolist()]
        sums = output.sequences_scores.tolist()
        generations = []
        for number, prompt in enumerate(prompts):
            own = slice(number * n, (number + 1) * n)
            candidates = [
                Candidate(self._tokens.text(row, prompt), total, len(row))
                for row, total in zip(rows[own], sums[own], strict=True)
            ]
            candidates.sort(key=lambda candidate: candidate.logprob, reverse=True)
            generations.append(Generation.of(prompt, candidates))
        return generations

    def _logprobs(self, read: _Read, rows: Sequence[tuple[int, list[int]]]) -> list[list[float]]:
        """The log-probabilities of each token of answers: (number of the prompt that was read, token ids)."""
        owners = torch.tensor([owner for owner, _ in rows], device=self._device)
        answers = _padded([ids for _, ids in rows], self._pad).to(self._device)
        logits = read.logits[owners, None]
        if answers.shape[1] > 1:
            after = self._go_on(read, owners, _rows_of(read.cache, owners), answers[:, :-1])
            logits = torch.cat([logits, after], dim=1)
        logprobs = logits.float().log_softmax(-1).gather(-1, answers[..., None])[..., 0]
        return [row[: len(ids)] for row, (_, ids) in zip(logprobs.tolist(), rows, strict=True)]

    def _until_end(self, ids: list[int]) -> list[int]:
        return ids[: ids.index(self._end) + 1] if self._end in ids else ids


class Seq2SeqGenerator(TransformersGenerator):
    """An encoder-decoder: T5, flan-t5."""

    def _load(self, model: str) -> Any:
        return load_seq2seq(model, dtype=self._dtype)

    def _batch(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
        ids = _padded([prompt.ids for prompt in prompts], self._pad)
        mask = _padded([[1] * len(prompt.ids) for prompt in prompts], 0)
        return ids.to(self._device), mask.to(self._device)

    def _read(self, prompts: list[Encoded]) -> _Read:
        ids, mask = self._batch(prompts)
        starts = torch.full((len(prompts), 1), self._model.config.decoder_start_token_id, device=self._device)
        output = self._model(input_ids=ids, attention_mask=mask, decoder_input_ids=starts, use_cache=True)
        return _Read(prompts, mask, output.logits[:, -1], output.past_key_values)

    def _go_on(self, read: _Read, owners: torch.Tensor, cache: Any, ids: torch.Tensor) -> torch.Tensor:
        # What the encoder made stands in the cache; the library asks for it all the same, and looks at its shape.
        mask = read.mask[owners]
        unread = torch.empty(1, device=self._device).expand(*mask.shape, self._model.config.d_model)
        logits: torch.Tensor = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=unread),
            attention_mask=mask,
            decoder_input_ids=ids,
            past_key_values=cache,
            use_cache=True,
        ).logits
        return logits


class CausalGenerator(TransformersGenerator):
    """A decoder-only model: Llama and its kin. Prompts are padded on the left, so that all answers begin together."""

    def _load(self, model: str) -> Any:
        return load_causal(model, dtype=self._dtype)

    def _batch(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
        ids = _padded([prompt.ids for prompt in prompts], self._pad, left=True)
        mask = _padded([[1] * len(prompt.ids) for prompt in prompts], 0, left=True)
        return ids.to(self._device), mask.to(self._device)

    def _read(self, prompts: list[Encoded]) -> _Read:
        ids, mask = self._batch(prompts)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        output = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1
        )
        return _Read(prompts, mask, output.logits[:, -1], output.past_key_values)

    def _go_on(self, read: _Read, owners: torch.Tensor, cache: Any, ids: torch.Tensor) -> torch.Tensor:
        prompts = read.mask[owners]
        written = cache.get_seq_length() - prompts.shape[1]
        new = torch.arange(written, written + ids.shape[1], device=self._device)
        logits: torch.Tensor = self._model(
            input_ids=ids,
            attention_mask=torch.cat([prompts, prompts.new_ones(len(ids), written + ids.shape[1])], dim=1),
            position_ids=prompts.sum(dim=1, keepdim=True) + new,
            past_key_values=cache,
            use_cache=True,
        ).logits
        return logits


def _batches(prompts: Sequence[Encoded], rows_each: int) -> Iterator[list[int]]:
    """Places of prompts that go through the model together: those of similar length, longest first."""
    batch: list[int] = []
    for place in sorted(range(len(prompts)), key=lambda place: len(prompts[place].ids), reverse=True):
        longest = len(prompts[batch[0]].ids) if batch else 0
        if (len(batch) + 1) * rows_each * longest > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _chunks(rows: Sequence[tuple[int, list[int]]]) -> Iterator[Sequence[tuple[int, list[int]]]]:
    """Groups of answers to score at once, limited in number and in tokens, including padding."""
    begin = longest = 0
    for place, (_, ids) in enumerate(rows):
        longest = max(longest, len(ids))
        count = place - begin + 1
        if count > 1 and (count > _SCORED_AT_ONCE or count * longest > _SCORED_TOKENS):
            yield rows[begin:place]
            begin, longest = place, len(ids)
    if rows:
        yield rows[begin:]


def _rows_of(cache: Any, owners: torch.Tensor) -> Any:
    """A cache of its own with a row for each owner. The library replaces tensors and never changes one."""

    def select(cache: Any) -> Any:
        chosen = copy.copy(cache)
        chosen.layers = [copy.copy(layer) for layer in cache.layers]
        chosen.batch_select_indices(owners)
        return chosen

    if isinstance(cache, EncoderDecoderCache):
        return EncoderDecoderCache(select(cache.self_attention_cache), select(cache.cross_attention_cache))
    return select(cache)


def _padded(rows: Sequence[list[int]], value: int, *, left: bool = False) -> torch.Tensor:
    """Rows of numbers as one (rows, longest) tensor."""
    width = max(len(row) for row in rows)
    filled = ((row, [value] * (width - len(row))) for row in rows)
    return torch.tensor([[*filler, *row] if left else [*row, *filler] for row, filler in filled])


def _tokenizer(model: str) -> Tokenizer:
    path = Path(model)
    return read_tokenizer(path / "tokenizer.json") if path.is_dir() else Tokenizer.from_pretrained(model)


def _candidate(text: str, logprobs: list[float]) -> Candidate:
    return Candidate(text, sum(logprobs), len(logprobs), tuple(logprobs))
