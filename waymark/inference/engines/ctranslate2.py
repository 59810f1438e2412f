"""T5 and Llama models on CTranslate2: the default engine on CPUs, and the only import of that library.

Reads a checkpoint's `tokenizer.json` and its `ctranslate2/` folder; torch is not needed and not imported.
`convert_to_ctranslate2` makes that folder and does need the `torch` extra.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np

from waymark.command_hints import command
from waymark.errors import CheckpointError, EngineUnavailable, InvalidInput
from waymark.inference import Candidate, Encoded, Generation, Prompt, Steps, to_the_end
from waymark.inference.checkpoint import Checkpoint
from waymark.inference.checkpoint_files import read_object
from waymark.inference.engines.best_first import Answer, Ranked, best_in_steps
from waymark.inference.tokens import Tokens, read_tokenizer, unused
from waymark.operating_system.cpu_cores import available_cores
from waymark.operating_system.memory import keep_freed_memory

_SMALL_WEIGHTS = 64 * 2**20
"""Bytes of weights that cores can share: up to this size, each core runs batches of its own (about 50 M parameters in
int8). A larger model is bound by reading its weights, so all cores work on one wide batch."""
_BATCH_TOKENS = 512
"""Input tokens, padding included, of a small model's batch: wider ones leave the core's cache and gain nothing."""
_SHOWN = 200
"""Characters of the library's text that an error quotes."""
_WIDE_BATCH_TOKENS = 16_384
"""Of another model's batch, so that many long prompts, or many candidates to score, fit into memory."""
_STEP_TOKENS = 4_096
"""Input tokens of a step of scoring: some tenths of a second of a small model on two cores."""
_AVX512 = {"avx512f", "avx512cd", "avx512dq", "avx512bw", "avx512vl", "avx512_vbmi2"}


Ranks = Generator[int, None, list[list[Ranked]]]
"""Ranking in steps: tokens read at each, and in the end each prompt's best."""


class CTranslate2Generator(ABC):
    """A converted checkpoint. Implements `waymark.inference.Generator`, each architecture in its own way.

    `device` is `cpu` or `cuda`; `auto` is the CPU, since CUDA's libraries do not come with the package. `dtype` is
    CTranslate2's compute type, `auto` for the one that the weights are stored in. `threads` 0 means all cores
    that this process may use.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", dtype: str = "auto", threads: int = 0) -> None:
        folder = checkpoint.ctranslate2
        checkpoint.check_converted()
        device = "cpu" if device == "auto" else device
        if device.startswith("cuda") and not ctranslate2.get_cuda_device_count():
            raise EngineUnavailable("No CUDA device is visible to CTranslate2.", remedy="Use WAYMARK_DEVICE=cpu.")
        cores = threads or available_cores()
        small = device == "cpu" and (folder / "model.bin").stat().st_size <= _SMALL_WEIGHTS
        self._workers = cores if small else 1
        _choose_instructions()
        keep_freed_memory()
        try:
            self._model = self._library(
                str(folder),
                device=device,
                compute_type="default" if dtype == "auto" else dtype,
                inter_threads=self._workers,
                intra_threads=1 if small else cores,
            )
        except UnicodeDecodeError as error:  # the library quotes a damaged file's bytes in its own error
            raise CheckpointError(f"CTranslate2 cannot load {folder}.", remedy=_again(checkpoint.folder)) from error
        except ValueError as error:
            known = ", ".join(sorted(ctranslate2.get_supported_compute_types("cpu")))
            raise EngineUnavailable(
                f"CTranslate2 refuses device {device!r} with dtype {dtype!r}: {str(error).rstrip('.')}.",
                remedy=f"Use `auto`; on this CPU it knows {known}.",
            ) from error
        except (RuntimeError, LookupError, MemoryError) as error:
            reason = " ".join(str(error).split())[:_SHOWN].rstrip(".")
            raise CheckpointError(
                f"CTranslate2 cannot load {folder}: {reason}.", remedy=_again(checkpoint.folder)
            ) from error
        tokenizer = read_tokenizer(checkpoint.folder / "tokenizer.json")
        end_name = str(read_object(folder / "config.json").get("eos_token"))[:_SHOWN]
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
    @abstractmethod
    def _library(self) -> Any:
        """The library's class for this architecture."""

    @abstractmethod
    def _search(self, prompts: Sequence[Encoded], n: int) -> Iterator[tuple[list[list[str]], list[float]]]:
        """For each prompt the best `n` answers, as names of tokens with the end token, and their log-probabilities."""

    @abstractmethod
    def _logprobs(self, rows: Sequence[tuple[Encoded, Answer]]) -> Iterator[list[float]]:
        """The log-probabilities of each token of answers to prompts."""

    @property
    def engine(self) -> str:
        """`ctranslate2`."""
        return "ctranslate2"

    @property
    def dtype(self) -> str:
        """What it computes in, as CTranslate2 names it, e.g. `int8_float32`: int8 products, the rest float32."""
        return str(self._model.compute_type)

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
        encoded = self.encode(prompts)
        return [
            Generation.of(
                prompt,
                [
                    Candidate(self._tokens.text(self._tokens.numbers(names), prompt), score, len(names))
                    for names, score in zip(answers, scores, strict=True)
                ],
            )
            for prompt, (answers, scores) in zip(encoded, self._search(encoded, n), strict=True)
        ]

    def score(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> list[Generation]:
        """The `n` best of each prompt's own candidates, best mean first.

        The prompt is read again for every candidate; by an encoder-decoder with `n` only for those that could be among
        the best.
        """
        return to_the_end(self.score_in_steps(prompts, candidates, n=n))

    @property
    def rereads_prompt(self) -> bool:
        """For every candidate that is read."""
        return True

    @property
    def candidate_weight(self) -> int:
        """It reads both at once."""
        return 1

    @property
    def parallel_batches(self) -> int:
        """Two, if it has several workers. They take the parts of batches in order, so the second batch begins as the
        first ends. With one batch at a time, a worker without a part waits for the other workers.
        """
        return 2 if self._workers > 1 else 1

    def score_in_steps(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> Steps:
        """A step reads what fits into one batch, or one candidate of each prompt."""
        encoded = self.encode(prompts)
        choices = [
            [[*self._tokens.target(text, prompt), self._tokens.end] for text in own]
            for prompt, own in zip(encoded, candidates, strict=True)
        ]
        ranks = yield from self._rank(encoded, choices, n)
        return [
            Generation.of(
                prompt,
                [
                    Candidate(own[answer.place], sum(answer.logprobs), len(answer.logprobs), answer.logprobs)
                    for answer in ranked
                ],
            )
            for prompt, own, ranked in zip(encoded, candidates, ranks, strict=True)
        ]

    def close(self) -> None:
        """Free the weights. Idempotent."""
        self._model.unload_model()

    def _rank(self, prompts: Sequence[Encoded], choices: Sequence[Sequence[Answer]], n: int | None) -> Ranks:
        """Of each prompt's answers the `n` with the best mean log-probability a token: every one is read."""
        rows = [(prompt, answer) for prompt, answers in zip(prompts, choices, strict=True) for answer in answers]
        logprobs_of_rows: list[list[float]] = []
        for chunk in _chunks(rows):
            if logprobs_of_rows:
                yield sum(len(prompt.ids) + len(answer) for prompt, answer in chunk)
            logprobs_of_rows += self._logprobs(chunk)
        logprobs = iter(logprobs_of_rows)
        read = [[Ranked(place, tuple(next(logprobs))) for place in range(len(answers))] for answers in choices]
        return [sorted(ranked, key=lambda candidate: candidate.mean, reverse=True)[:n] for ranked in read]

    def cut_tokens(self, lengths: Sequence[int]) -> int:
        """Input tokens, padding included, of each part into which prompts of these lengths are cut.

        The library sorts the prompts by length and cuts them; its workers take the parts in turn.
        """
        a_worker = -(-sum(lengths) // self._workers)
        return min(self._batch_tokens, a_worker)

    def _batching(self, lengths: Sequence[int]) -> dict[str, Any]:
        return {"batch_type": "tokens", "max_batch_size": self.cut_tokens(lengths)}


class Seq2SeqGenerator(CTranslate2Generator):
    """An encoder-decoder: T5, flan-t5."""

    _library = ctranslate2.Translator

    @property
    def candidate_weight(self) -> int:
        """Measured (decision 0313): 21 microseconds a token of the prompt, about 100 one of a candidate, whose tokens
        are read one after another, each with the log-probabilities of the whole vocabulary.
        """
        return 5

    def _search(self, prompts: Sequence[Encoded], n: int) -> Iterator[tuple[list[list[str]], list[float]]]:
        # Defaults that would change results are all set: beams of 2, normalised scores, no empty answer, truncation.
        results = self._model.translate_batch(
            [self._tokens.names(prompt.ids) for prompt in prompts],
            beam_size=n,
            num_hypotheses=n,
            length_penalty=0,
            max_decoding_length=self._max_new_tokens,
            min_decoding_length=0,
            max_input_length=0,
            return_scores=True,
            return_end_token=True,
            **self._batching([len(prompt.ids) for prompt in prompts]),
        )
        return ((result.hypotheses, result.scores) for result in results)

    def _logprobs(self, rows: Sequence[tuple[Encoded, Answer]]) -> Iterator[list[float]]:
        results = self._model.score_batch(
            [self._tokens.names(prompt.ids) for prompt, _ in rows],
            [self._tokens.names(answer[:-1]) for _, answer in rows],  # it adds the end itself
            max_input_length=0,
            **self._batching([len(prompt.ids) for prompt, _ in rows]),
        )
        return (result.log_probs for result in results)

    def _rank(self, prompts: Sequence[Encoded], choices: Sequence[Sequence[Answer]], n: int | None) -> Ranks:
        """As every engine ranks, from as few answers as it takes."""
        spoilt = any(self._tokens.end in answer[:-1] for answers in choices for answer in answers)
        if n is None or spoilt:  # the library would end there and not tell of the rest
            return (yield from super()._rank(prompts, choices, n))
        search = best_in_steps(
            lambda pending: self._read([(prompts[number], answer) for number, answer in pending]), choices, n
        )
        while True:
            try:
                pending = next(search)
            except StopIteration as done:
                ranks: list[list[Ranked]] = done.value
                return ranks
            yield sum(len(prompts[number].ids) + len(answer) for number, answer in pending)

    def _read(self, rows: Sequence[tuple[Encoded, Answer]]) -> Iterator[list[Any]]:
        """At each place of answers to prompts the log-probabilities of the whole vocabulary, as arrays."""
        results = self._model.translate_batch(
            [self._tokens.names(prompt.ids) for prompt, _ in rows],
            target_prefix=[self._tokens.names(answer[:-1]) for _, answer in rows],
            beam_size=1,
            max_decoding_length=max(len(answer) for _, answer in rows),
            min_decoding_length=0,
            max_input_length=0,
            return_logits_vocab=True,
            **self._batching([len(prompt.ids) for prompt, _ in rows]),
        )
        for result, (_, answer) in zip(results, rows, strict=True):
            yield [_log_softmax(np.asarray(row, dtype=np.float64)) for row in result.logits[0][: len(answer)]]


class CausalGenerator(CTranslate2Generator):
    """A decoder-only model: Llama and its kin."""

    _library = ctranslate2.Generator

    def _search(self, prompts: Sequence[Encoded], n: int) -> Iterator[tuple[list[list[str]], list[float]]]:
        # In one batch the library reads as many tokens at once as the shortest prompt has, and then one token a step. A
        # beam that ends meanwhile is lost. So only prompts of one length share a batch; workers take them in turn.
        lengths = [len(prompt.ids) for prompt in prompts]
        pending: dict[int, Any] = {}
        for length in set(lengths):
            places = [place for place, other in enumerate(lengths) if other == length]
            pending |= zip(places, self._begin([prompts[place] for place in places], n), strict=True)
        results = (pending[place].result() for place in range(len(prompts)))
        return ((result.sequences, result.scores) for result in results)

    def _begin(self, prompts: Sequence[Encoded], n: int) -> list[Any]:
        """Promises of the library's results."""
        promises: list[Any] = self._model.generate_batch(
            [self._tokens.names(prompt.ids) for prompt in prompts],
            beam_size=n,
            num_hypotheses=n,
            length_penalty=0,
            max_length=self._max_new_tokens,
            min_length=0,
            include_prompt_in_result=False,
            return_scores=True,
            return_end_token=True,
            asynchronous=True,
            **self._batching([len(prompt.ids) for prompt in prompts]),
        )
        return promises

    def _logprobs(self, rows: Sequence[tuple[Encoded, Answer]]) -> Iterator[list[float]]:
        sequences = [[*prompt.ids, *answer] for prompt, answer in rows]
        results = self._model.score_batch(
            [self._tokens.names(ids) for ids in sequences],
            max_input_length=0,
            **self._batching([len(ids) for ids in sequences]),
        )
        return (result.log_probs[-len(answer) :] for result, (_, answer) in zip(results, rows, strict=True))


def _chunks(rows: Sequence[tuple[Encoded, Answer]]) -> Iterator[Sequence[tuple[Encoded, Answer]]]:
    """Answers that are read at a step: so many that their tokens are `_STEP_TOKENS`."""
    begin = tokens = 0
    for place, (prompt, answer) in enumerate(rows):
        more = len(prompt.ids) + len(answer)
        if place > begin and tokens + more > _STEP_TOKENS:
            yield rows[begin:place]
            begin, tokens = place, 0
        tokens += more
    if rows:
        yield rows[begin:]


def _again(folder: Path) -> str:
    return f"Convert it again with `{command('training', 'convert', folder, 'OUTPUT')}`."


def _choose_instructions() -> None:
    """Use AVX-512 on CPUs that do not slow down for it: those since Ice Lake and Zen 4, which VBMI2 tells apart.

    CTranslate2 goes no further than AVX2 unless it is told before its first model; a choice of the user's stands.
    """
    with suppress(OSError):
        if set(Path("/proc/cpuinfo").read_text().split()) >= _AVX512:
            os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")


def _log_softmax(logits: Any) -> Any:
    highest = logits.max()
    return logits - (highest + np.log(np.exp(logits - highest).sum()))


# --- conversion ------------------------------------------------------------------------------------------


CONVERTIBLE = ("t5", "llama")
"""Model types, as `config.json` names them, that `convert_to_ctranslate2` converts."""


def convert_to_ctranslate2(folder: Path, output: Path, quantization: str = "int8") -> None:
    """Convert a checkpoint folder (config.json, model.safetensors, tokenizer.json), T5 or Llama, into `output`.

    `quantization` is CTranslate2's name of the stored type, e.g. `int8` or `float32`. `output` is created
    and may exist. Raises CheckpointError when the model is of another type or its tokenizer does not fit it.
    """
    from ctranslate2.converters.transformers import LlamaLoader, T5Loader

    from waymark.inference.engines.transformers import load_causal, load_seq2seq

    model_type = str(read_object(folder / "config.json").get("model_type"))[:_SHOWN]
    if model_type not in CONVERTIBLE:
        raise CheckpointError(
            f"{folder} holds a {model_type} model, a kind that this version cannot convert.",
            remedy="Serve it with WAYMARK_ENGINE=transformers.",
        )
    if model_type == "llama":
        model = load_causal(str(folder), dtype="float32")
        spec = LlamaLoader()(model, _vocabulary(folder, model.config))
    else:
        model = load_seq2seq(str(folder), dtype="float32")
        # The converter scales the logits of tied models. transformers 5 marks every T5 as tied; the real value is in
        # `scale_decoder_outputs`. Without this line scores would be wrong, although greedy texts would be right.
        model.config.tie_word_embeddings = model.config.scale_decoder_outputs
        spec = T5Loader()(model, _vocabulary(folder, model.config))
    spec.validate()
    try:
        spec.optimize(quantization=quantization)
    except ValueError as error:
        raise InvalidInput(
            f"CTranslate2 cannot store weights as {quantization!r}.",
            remedy="Use int8, int8_float32, bfloat16 or float32.",
            field="quantization",
        ) from error
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
