"""T5 models on CTranslate2: the default engine on CPUs, and the only import of that library.

Reads a checkpoint's `tokenizer.json` and its `ctranslate2/` folder; torch is not needed and not imported.
`convert_to_ctranslate2` makes that folder and does need the `torch` extra.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2

from waymark.checkpoint import Checkpoint
from waymark.errors import CheckpointError, EngineUnavailable
from waymark.generation import Candidate, Encoded, Generation, Prompt
from waymark.generation.tokens import Tokens, read_tokenizer, unused
from waymark.process import available_cores

_SMALL_WEIGHTS = 64 * 2**20
"""Bytes of weights that cores can share: up to this size, each core runs batches of its own (about 50 M parameters in
int8). A larger model is bound by reading its weights, so all cores work on one wide batch."""
_BATCH_TOKENS = 512
"""Input tokens, padding included, of a small model's batch: wider ones leave the core's cache and gain nothing."""
_WIDE_BATCH_TOKENS = 16_384
"""Of another model's batch, so that many long prompts, or many candidates to score, fit into memory."""
_AVX512 = {"avx512f", "avx512cd", "avx512dq", "avx512bw", "avx512vl", "avx512_vbmi2"}


class CTranslate2Generator:
    """A T5 checkpoint on CTranslate2. Implements `waymark.generation.Generator`.

    `device` is `cpu` or `cuda`; `auto` is the CPU, since CUDA's libraries do not come with the package. `dtype` is
    CTranslate2's compute type, `auto` for the one that the weights are stored in. `threads` 0 means all cores
    that this process may use.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", dtype: str = "auto", threads: int = 0) -> None:
        folder = checkpoint.ctranslate2
        if not (folder / "model.bin").is_file():
            raise CheckpointError(
                f"{checkpoint.folder} has no weights for CTranslate2.",
                remedy=f"Convert them with `python -m training export {checkpoint.card.role}`, "
                "or serve with WAYMARK_ENGINE=transformers.",
            )
        device = "cpu" if device == "auto" else device
        cores = threads or available_cores()
        small = device == "cpu" and (folder / "model.bin").stat().st_size <= _SMALL_WEIGHTS
        self._workers = cores if small else 1
        _choose_instructions()
        try:
            self._translator: Any = ctranslate2.Translator(
                str(folder),
                device=device,
                compute_type="default" if dtype == "auto" else dtype,
                inter_threads=self._workers,
                intra_threads=1 if small else cores,
            )
        except ValueError as error:
            known = ", ".join(sorted(ctranslate2.get_supported_compute_types("cpu")))
            raise EngineUnavailable(
                f"CTranslate2 refuses device {device!r} with dtype {dtype!r}: {error}.",
                remedy=f"Use `auto`; on this CPU it knows {known}.",
            ) from error
        except RuntimeError as error:
            raise CheckpointError(
                f"CTranslate2 cannot load {folder}: {error}.",
                remedy=f"Convert it again with `python -m training export {checkpoint.card.role}`.",
            ) from error
        tokenizer = read_tokenizer(checkpoint.folder / "tokenizer.json")
        end_name = json.loads((folder / "config.json").read_text())["eos_token"]
        end = tokenizer.token_to_id(end_name)
        if end is None:
            raise CheckpointError(
                f"The tokenizer of {checkpoint.folder} lacks the model's end token {end_name!r}.",
                remedy="Keep the tokenizer that the model was trained with.",
            )
        self._tokens = Tokens(tokenizer, end)
        self._batch_tokens = _BATCH_TOKENS if small else _WIDE_BATCH_TOKENS
        self._limit = checkpoint.card.max_input_tokens
        self._max_new_tokens = checkpoint.card.max_new_tokens

    @property
    def engine(self) -> str:
        """`ctranslate2`."""
        return "ctranslate2"

    @property
    def dtype(self) -> str:
        """What it computes in, as CTranslate2 names it, e.g. `int8_float32`: int8 products, the rest float32."""
        return str(self._translator.compute_type)

    def encode(self, prompts: Sequence[Prompt]) -> list[Encoded]:
        """Tokenise ahead; may run beside the other methods."""
        return self._tokens.prompts(prompts, self._limit)

    def pieces(self, answer: str, prompt: Prompt) -> list[str]:
        """What each token adds to an answer."""
        return self._tokens.pieces(answer, *self.encode([prompt]))

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        """The `n` most likely answers to each prompt: greedy for 1, beam search of width n for more.

        The search ends once the best answer is sure, so that lower ranks may differ from the reference engine's,
        which goes on until none can improve.
        """
        encoded = self._tokens.prompts(prompts, self._limit)
        # Every default that would bite is set: beams of 2, normalised scores, no empty answer, silent truncation.
        results = self._translator.translate_batch(
            [self._tokens.names(one.ids) for one in encoded],
            beam_size=n,
            num_hypotheses=n,
            length_penalty=0,
            max_decoding_length=self._max_new_tokens,
            min_decoding_length=0,
            max_input_length=0,
            return_scores=True,
            return_end_token=True,
            **self._batching([len(one.ids) for one in encoded]),
        )
        return [
            _generation(
                one,
                [
                    Candidate(self._tokens.text(self._tokens.numbers(names), one), score, len(names))
                    for names, score in zip(result.hypotheses, result.scores, strict=True)
                ],
            )
            for one, result in zip(encoded, results, strict=True)
        ]

    def score(self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]]) -> list[Generation]:
        """Each prompt's own candidates, best mean first. The prompt is read again for every candidate."""
        encoded = self._tokens.prompts(prompts, self._limit)
        pairs = [
            (self._tokens.names(one.ids), self._tokens.names(self._tokens.target(text, one)))
            for one, texts in zip(encoded, candidates, strict=True)
            for text in texts
        ]
        results = iter(
            self._translator.score_batch(
                [source for source, _ in pairs],
                [target for _, target in pairs],
                max_input_length=0,
                **self._batching([len(source) for source, _ in pairs]),
            )
        )
        scored = []
        for one, texts in zip(encoded, candidates, strict=True):
            rows = [next(results).log_probs for _ in texts]
            found = [Candidate(text, sum(row), len(row), tuple(row)) for text, row in zip(texts, rows, strict=True)]
            scored.append(_generation(one, sorted(found, key=lambda each: each.mean_logprob, reverse=True)))
        return scored

    def close(self) -> None:
        """Free the weights. Idempotent."""
        self._translator.unload_model()

    def _batching(self, lengths: Sequence[int]) -> dict[str, Any]:
        """How prompts of these lengths in tokens are cut, by length, into batches that the workers take in turn."""
        a_worker = -(-sum(lengths) // self._workers)
        return {"batch_type": "tokens", "max_batch_size": min(self._batch_tokens, a_worker)}


def _choose_instructions() -> None:
    """Use AVX-512 on CPUs that do not slow down for it: those since Ice Lake and Zen 4, which VBMI2 tells apart.

    CTranslate2 goes no further than AVX2 unless it is told before its first model; a choice of the user's stands.
    """
    with suppress(OSError):
        if set(Path("/proc/cpuinfo").read_text().split()) >= _AVX512:
            os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")


def _generation(encoded: Encoded, candidates: list[Candidate]) -> Generation:
    return Generation(candidates=tuple(candidates), prompt_tokens=len(encoded.ids), truncated_tokens=encoded.truncated)


# --- conversion ------------------------------------------------------------------------------------------


CONVERTIBLE = ("t5", "llama")
"""Model types, as `config.json` names them, that `convert_to_ctranslate2` converts."""


def convert_to_ctranslate2(folder: Path, output: Path, quantization: str = "int8") -> None:
    """Convert a checkpoint folder (config.json, model.safetensors, tokenizer.json), T5 or Llama, into `output`.

    `quantization` is CTranslate2's name of the stored type, e.g. `int8` or `float32`. `output` is created
    and may exist. Raises CheckpointError when the model is of another type or its tokenizer does not fit it.
    """
    from ctranslate2.converters.transformers import LlamaLoader, T5Loader

    from waymark.generation.transformers import load_causal, load_seq2seq

    model_type = json.loads((folder / "config.json").read_text())["model_type"]
    if model_type not in CONVERTIBLE:
        raise CheckpointError(
            f"{folder} holds a {model_type} model, of which this version converts none.",
            remedy="Serve it with WAYMARK_ENGINE=transformers.",
        )
    if model_type == "llama":
        model = load_causal(str(folder), dtype="float32")
        spec = LlamaLoader()(model, _vocabulary(folder, model.config))
    else:
        model = load_seq2seq(str(folder), dtype="float32")
        # The converter scales the logits of tied models, but transformers 5 calls every T5 tied and keeps the
        # truth in `scale_decoder_outputs`: without this line scores are wrong while greedy text stays right.
        model.config.tie_word_embeddings = model.config.scale_decoder_outputs
        spec = T5Loader()(model, _vocabulary(folder, model.config))
    spec.validate()
    spec.optimize(quantization=quantization)
    output.mkdir(parents=True, exist_ok=True)
    spec.save(str(output))


@dataclass(frozen=True)
class _Vocabulary:
    """What CTranslate2's converter asks of a tokenizer, with one distinct token for every row of the embedding."""

    tokens: tuple[str, ...]
    pad_token: str
    bos_token: str
    eos_token: str
    unk_token: str

    def get_vocab(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def convert_ids_to_tokens(self, number: int) -> str:
        return self.tokens[number]


def _vocabulary(folder: Path, config: Any) -> _Vocabulary:
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    if tokenizer.get_vocab_size() > config.vocab_size:
        raise CheckpointError(
            f"The tokenizer of {folder} has {tokenizer.get_vocab_size()} tokens, its model {config.vocab_size}.",
            remedy="Keep the tokenizer that the model was trained with.",
        )
    tokens = tuple(tokenizer.id_to_token(number) or unused(number) for number in range(config.vocab_size))
    pad = tokens[config.pad_token_id]
    begin = getattr(config, "bos_token_id", None)
    return _Vocabulary(
        tokens=tokens,
        pad_token=pad,
        bos_token=pad if begin is None else tokens[begin],
        eos_token=tokens[config.eos_token_id],
        unk_token="<unk>" if "<unk>" in tokens else pad,
    )
