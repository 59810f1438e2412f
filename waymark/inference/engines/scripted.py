"""An engine without weights: a function from prompts to answers. For tests, and for trying the API.

Deterministic. Its log-probabilities are those that the function states; it knows nothing of language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from zlib import crc32

from waymark.contracts import Role
from waymark.inference import Candidate, Encoded, Generation, Prompt, Steps
from waymark.inference.scoring_steps import in_chunks
from waymark.worlds.base import PromptFormat

Policy = Callable[[str], Sequence[tuple[str, float]]]
"""Prompt to answers: (text, log-probability), best first."""

_UNLIKELY = -20.0
_SCORED_AT_ONCE = 64
_SUBGOALS = (
    "navigate_to(kitchen)",
    "pick_up(thermometer)",
    "focus_on(thermometer)",
    "navigate_to(living room)",
    "complete_task()",
)
_ACTIONS = ("look around", "inventory", "open door to kitchen", "go to kitchen", "pick up thermometer", None)


class ScriptedGenerator:
    """Answers by a policy. Implements `waymark.inference.Generator`. Each word is one token; the end token is another
    one.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @property
    def engine(self) -> str:
        """`scripted`."""
        return "scripted"

    @property
    def dtype(self) -> str:
        """The number type; nothing is computed here."""
        return "none"

    def encode(self, prompts: Sequence[str]) -> list[Encoded]:
        """Words and the end token, numbered in their order."""
        return [Encoded(text=prompt, ids=list(range(_tokens(prompt))), truncated=0) for prompt in prompts]

    def pieces(self, answer: str, prompt: Prompt) -> list[str]:  # noqa: ARG002
        """Words, each with the space before it."""
        return [*re.findall(r"(?<!\s)\s*\S+", answer), ""]

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        """The policy's first `n` answers to each prompt."""
        return [
            _generation(prompt, [_candidate(text, logprob) for text, logprob in self._policy(prompt)[:n]])
            for prompt in map(_text, prompts)
        ]

    def score(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> list[Generation]:
        """The `n` best candidates by the policy, best mean first; texts that the policy does not give have a low
        probability.
        """
        generations = []
        for prompt, texts in zip(map(_text, prompts), candidates, strict=True):
            known = dict(self._policy(prompt))
            ranked = [_candidate(text, known.get(text, _UNLIKELY)) for text in texts]
            ranked.sort(key=lambda candidate: candidate.mean_logprob, reverse=True)
            generations.append(_generation(prompt, ranked[:n]))
        return generations

    @property
    def rereads_prompt(self) -> bool:
        """A policy reads it once."""
        return False

    @property
    def candidate_weight(self) -> int:
        """A policy reads neither."""
        return 1

    @property
    def parallel_batches(self) -> int:
        """A policy need not be thread-safe."""
        return 1

    def score_in_steps(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> Steps:
        """Some candidates of each prompt at a step."""
        return in_chunks(self.score, prompts, candidates, n, _SCORED_AT_ONCE)

    def close(self) -> None:
        """Nothing is held."""


def trial_policy(role: Role, format: PromptFormat) -> Policy:  # noqa: A002 - the domain's word
    """The default policy: plausible sub-goals or actions in a fixed cycle. The prompt's hash decides where the cycle
    begins.
    """
    decisions: tuple[str | None, ...] = _SUBGOALS if role in ("controller", "first") else _ACTIONS
    if role == "flat":
        decisions = tuple(decision for decision in decisions if decision is not None)
    texts = [format.target(role, decision) for decision in decisions]

    def policy(prompt: str) -> list[tuple[str, float]]:
        first = crc32(prompt.encode()) % len(texts)
        return [(text, -float(rank + 1)) for rank, text in enumerate(texts[first:] + texts[:first])]

    return policy


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else prompt.text


def _tokens(text: str) -> int:
    return len(text.split()) + 1


def _candidate(text: str, logprob: float) -> Candidate:
    tokens = _tokens(text)
    return Candidate(text=text, logprob=logprob, tokens=tokens, token_logprobs=(logprob / tokens,) * tokens)


def _generation(prompt: str, candidates: list[Candidate]) -> Generation:
    return Generation(candidates=tuple(candidates), prompt_tokens=_tokens(prompt), truncated_tokens=0)
