"""The reference engine: sequence-to-sequence models on PyTorch, CPU or CUDA. All other engines are held to it.

The only import of torch and transformers outside of training. Weights are read from safetensors only, and no
code that comes with a model is ever run. Causal models are not served yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from waymark.errors import CheckpointError, EngineUnavailable
from waymark.generation import Candidate, Encoded, Generation, Prompt
from waymark.generation.tokens import Tokens, read_tokenizer
from waymark.process import available_cores

_DTYPES = ("float32", "bfloat16", "float16")
_SCORE_BATCH = 64


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
        loaded = auto.from_pretrained(
            model,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=Path(model).is_dir(),
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"Cannot load the model {model}: {reason}",
            remedy=f"It must be {kind} with config.json and model.safetensors.",
        ) from error
    return loaded.requires_grad_(False).eval()


@dataclass(frozen=True, slots=True)
class _Read:
    """A batch of prompts after the encoder: what the decoder attends to."""

    prompts: list[Encoded]
    hidden: torch.Tensor
    """(prompts, length, width)."""
    mask: torch.Tensor
    """(prompts, length), 1 where there is a token."""


class TransformersGenerator:
    """An encoder-decoder model. Implements `waymark.generation.Generator`.

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
        self._model = load_seq2seq(model, dtype=self._dtype).to(self._device)
        config = self._model.config
        self._pad, self._end = config.pad_token_id, config.eos_token_id
        self._start = config.decoder_start_token_id
        self._tokens = Tokens(_tokenizer(model), self._end)
        self._limit = max_input_tokens
        self._max_new_tokens = max_new_tokens
        # A checkpoint may bring generation defaults of its own (sampling, penalties): none of them apply.
        self._model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            pad_token_id=self._pad, eos_token_id=self._end, decoder_start_token_id=self._start
        )

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
        if not prompts:
            return []
        read = self._read(prompts)
        # With sums as scores, no early stopping means: until no unfinished answer can enter the best n.
        search: dict[str, Any] = {"num_beams": n, "length_penalty": 0.0, "early_stopping": False} if n > 1 else {}
        sequences = self._model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=read.hidden),
            attention_mask=read.mask,
            do_sample=False,
            num_return_sequences=n,
            max_new_tokens=self._max_new_tokens,
            **search,
        )
        answers = [self._until_end(row[1:]) for row in sequences.tolist()]
        generations = []
        for number, prompt in enumerate(read.prompts):
            rows = answers[number * n : (number + 1) * n]
            # The search keeps scores of its own, normalised and rounded in its own ways: score the answers again.
            logprobs = self._logprobs(read, number, rows)
            found = [
                Candidate(self._tokens.text(row, prompt), sum(each), len(row))
                for row, each in zip(rows, logprobs, strict=True)
            ]
            found.sort(key=lambda one: one.logprob, reverse=True)
            generations.append(_generation(prompt, found))
        return generations

    @torch.inference_mode()
    def score(self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]]) -> list[Generation]:
        """Each prompt's own candidates, best mean first. Each prompt is read once."""
        if not prompts:
            return []
        read = self._read(prompts)
        generations = []
        for number, (prompt, texts) in enumerate(zip(read.prompts, candidates, strict=True)):
            rows = [[*self._tokens.target(text, prompt), self._end] for text in texts]
            logprobs = self._logprobs(read, number, rows)
            found = [
                Candidate(text, sum(each), len(row), tuple(each))
                for text, row, each in zip(texts, rows, logprobs, strict=True)
            ]
            found.sort(key=lambda one: one.mean_logprob, reverse=True)
            generations.append(_generation(prompt, found))
        return generations

    def close(self) -> None:
        """Free the weights. Idempotent."""
        self._model = None

    def _read(self, prompts: Sequence[Prompt]) -> _Read:
        """Tokenise and encode."""
        encoded = self._tokens.prompts(prompts, self._limit)
        ids = _padded([one.ids for one in encoded], self._pad).to(self._device)
        lengths = torch.tensor([len(one.ids) for one in encoded], device=self._device)
        mask = (torch.arange(ids.shape[1], device=self._device) < lengths[:, None]).long()
        hidden = self._model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        return _Read(prompts=encoded, hidden=hidden, mask=mask)

    def _logprobs(self, read: _Read, number: int, rows: list[list[int]]) -> list[list[float]]:
        """The log-probabilities of the tokens of answers (token ids) to one prompt of a batch."""
        found: list[list[float]] = []
        for first in range(0, len(rows), _SCORE_BATCH):
            chunk = rows[first : first + _SCORE_BATCH]
            labels = _padded(chunk, self._pad).to(self._device)
            inputs = _padded([[self._start, *row[:-1]] for row in chunk], self._pad).to(self._device)
            logits = self._model(
                encoder_outputs=BaseModelOutput(last_hidden_state=read.hidden[number].expand(len(chunk), -1, -1)),
                attention_mask=read.mask[number].expand(len(chunk), -1),
                decoder_input_ids=inputs,
            ).logits
            tokens = logits.float().log_softmax(-1).gather(-1, labels[..., None])[..., 0]
            found += [tokens[row, : len(ids)].tolist() for row, ids in enumerate(chunk)]
        return found

    def _until_end(self, ids: list[int]) -> list[int]:
        return ids[: ids.index(self._end) + 1] if self._end in ids else ids


def _padded(rows: list[list[int]], pad: int) -> torch.Tensor:
    """Rows of token ids as one (rows, longest) tensor."""
    width = max(len(row) for row in rows)
    return torch.tensor([row + [pad] * (width - len(row)) for row in rows])


def _tokenizer(model: str) -> Tokenizer:
    path = Path(model)
    return read_tokenizer(path / "tokenizer.json") if path.is_dir() else Tokenizer.from_pretrained(model)


def _generation(encoded: Encoded, candidates: list[Candidate]) -> Generation:
    return Generation(candidates=tuple(candidates), prompt_tokens=len(encoded.ids), truncated_tokens=encoded.truncated)
