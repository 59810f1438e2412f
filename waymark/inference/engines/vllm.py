"""Decoder-only models on vLLM: a process of its own, here or elsewhere, since vLLM pins its own torch.

Nothing of vLLM is imported. Prompts and answers cross the wire as token numbers, made and read by the tokenizer that
all engines share, so vLLM's own text handling plays no part. vLLM reads the beginnings that prompts have in common once
(prefix caching), batches as it likes, and is asked for no more than what it does exactly: greedy continuations, the
likeliest next tokens (`waymark.inference.engines.beam_search` searches with them) and the log-probabilities of a
prompt's tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from waymark.errors import EngineUnavailable, InvalidInput
from waymark.inference import Candidate, Encoded, Generation, Prompt, Steps
from waymark.inference.checkpoint import Checkpoint
from waymark.inference.engines.beam_search import Beam, search
from waymark.inference.engines.vllm_process import LocalServer, find_python
from waymark.inference.engines.vllm_servers import Servers
from waymark.inference.scoring_steps import in_chunks
from waymark.inference.tokens import Tokens, read_tokenizer

_SCORED_AT_ONCE = 64


class VllmGenerator:
    """A causal checkpoint on vLLM servers. Implements `waymark.inference.Generator`, and `Remote`.

    With `urls` it asks those servers, else it starts one with the vLLM of the environment whose interpreter `python`
    is. `device`, `dtype` and `threads` are for a server that it starts: `device` is what that vLLM was built for,
    `dtype` as vLLM names it, `auto` for float32 on a CPU and bfloat16 elsewhere. Without `prefix_caching` that server
    reads every prompt whole. Raises EngineUnavailable.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        urls: Sequence[str] = (),
        python: Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
        prefix_caching: bool = True,
    ) -> None:
        card = checkpoint.card
        if card.architecture != "causal":
            raise EngineUnavailable(
                f"vLLM does not support T5, and {checkpoint.folder} holds a {card.architecture} model.",
                remedy="Use WAYMARK_ENGINE=ctranslate2 or transformers, or name a causal checkpoint.",
            )
        end = json.loads((checkpoint.folder / "config.json").read_text())["eos_token_id"]
        self._end: int = end[0] if isinstance(end, list) else end
        self._tokens = Tokens(read_tokenizer(checkpoint.folder / "tokenizer.json"), self._end)
        self._limit = card.max_input_tokens
        self._max_new_tokens = card.max_new_tokens
        local = None
        if not urls:
            local = LocalServer(
                checkpoint,
                find_python(python),
                device=device,
                dtype=dtype,
                threads=threads,
                prefix_caching=prefix_caching,
            )
            local.start()
            local.wait()
        self._dtype = local.dtype if local else "as its servers were started"
        self._servers = Servers(checkpoint, urls, local)
        max_tokens = self._servers.max_tokens
        if max_tokens is not None and max_tokens < self._limit + self._max_new_tokens:
            self.close()
            raise EngineUnavailable(
                f"The vLLM servers of {self._servers.model} take {max_tokens} tokens; prompt and answer may have "
                f"{self._limit + self._max_new_tokens}.",
                remedy="Start them with a larger --max-model-len.",
            )

    @property
    def engine(self) -> str:
        """`vllm`."""
        return "vllm"

    @property
    def dtype(self) -> str:
        """What it computes in, e.g. `float32`, where this process has started it."""
        return self._dtype

    def check(self) -> None:
        """Raise ServiceUnavailable while no server answers."""
        self._servers.check()

    def encode(self, prompts: Sequence[Prompt]) -> list[Encoded]:
        """Tokenise ahead; may run beside the other methods."""
        return self._tokens.prompts(prompts, self._limit)

    def pieces(self, answer: str, prompt: Prompt) -> list[str]:
        """What each token adds to an answer to that prompt."""
        return self._tokens.pieces(answer, *self.encode([prompt]))

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        """The `n` most likely answers to each prompt: greedy for 1, beam search of width n for more."""
        encoded = self.encode(prompts)
        answers = self._beams(encoded, n) if n > 1 else self._greedy(encoded)
        return [
            Generation.of(
                prompt, [Candidate(self._tokens.text(b.tokens, prompt), b.logprob, len(b.tokens)) for b in beams]
            )
            for prompt, beams in zip(encoded, answers, strict=True)
        ]

    def score(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> list[Generation]:
        """The `n` best of each prompt's own candidates, best mean first; it is read again for every candidate."""
        encoded = self.encode(prompts)
        rows = [
            (prompt, [*self._tokens.target(text, prompt), self._end])
            for prompt, texts in zip(encoded, candidates, strict=True)
            for text in texts
        ]
        max_tokens = self._servers.max_tokens
        if max_tokens is not None and any(len(prompt.ids) + len(row) >= max_tokens for prompt, row in rows):
            raise InvalidInput(
                f"The model takes {max_tokens} tokens, and a prompt with a candidate has more.",
                remedy="Leave out candidates that are longer than any answer.",
            )
        # A token must be generated, too; it is not looked at.
        choices = self._servers.complete([prompt.ids + row for prompt, row in rows], max_tokens=1, prompt_logprobs=0)
        logprobs = iter([choice.last_of_prompt(len(row)) for (_, row), choice in zip(rows, choices, strict=True)])
        scored = []
        for prompt, texts in zip(encoded, candidates, strict=True):
            ranked = [_scored(text, next(logprobs)) for text in texts]
            ranked.sort(key=lambda candidate: candidate.mean_logprob, reverse=True)
            scored.append(Generation.of(prompt, ranked[:n]))
        return scored

    @property
    def rereads_prompt(self) -> bool:
        """For every candidate, if from the server's cache."""
        return True

    @property
    def candidate_weight(self) -> int:
        """It reads both at once."""
        return 1

    @property
    def parallel_batches(self) -> int:
        """One, since its prompts are distributed over the servers by their load."""
        return 1

    def score_in_steps(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> Steps:
        """Some candidates of each prompt at a step."""
        return in_chunks(self.score, self.encode(prompts), candidates, n, _SCORED_AT_ONCE)

    def close(self) -> None:
        """End a server that was started here. Idempotent."""
        self._servers.close()

    def _greedy(self, prompts: Sequence[Encoded]) -> list[list[Beam]]:
        choices = self._servers.complete(
            [prompt.ids for prompt in prompts],
            max_tokens=self._max_new_tokens,
            logprobs=0,
            ignore_eos=True,  # the end is what the checkpoint says, not what the server makes of it
            stop_token_ids=[self._end],
        )
        return [[Beam(tuple(choice.token_ids), choice.logprob)] for choice in choices]

    def _beams(self, prompts: Sequence[Encoded], width: int) -> list[list[Beam]]:
        def following(beginnings: Sequence[tuple[int, Beam]]) -> list[Mapping[int, float]]:
            begun = [[*prompts[number].ids, *beam.tokens] for number, beam in beginnings]
            return [choice.nexts for choice in self._servers.complete(begun, max_tokens=1, logprobs=width + 1)]

        return search(following, len(prompts), width=width, end=self._end, max_tokens=self._max_new_tokens)


def _scored(text: str, logprobs: tuple[float, ...]) -> Candidate:
    return Candidate(text, sum(logprobs), len(logprobs), logprobs)
