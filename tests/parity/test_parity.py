"""Every engine held to transformers in float32, on the executors that ship and on states out of dev episodes.

`./run test tests/parity --states 500 --vllm` is the whole of it; by default 100 states, without vLLM. Tolerances are of
log-probabilities of whole answers in float32. Quantised and halved weights are only reported, and bounded loosely.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.oracle import TABLE, trajectories
from training.annotations import read_annotations
from training.datasets import Example, examples
from waymark.inference import Candidate, Generation, Generator
from waymark.inference.checkpoint import Checkpoint, load, write_card
from waymark.inference.engines.ctranslate2 import convert_to_ctranslate2
from waymark.inference.open_engine import open_generator
from waymark.worlds.registry import get_format

pytest.importorskip("torch")

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
TOLERANCE = 2e-3
SAME = 0.99
"""Share of the states with the same greedy text."""
NEAR = 0.9
"""The same for int8 and bfloat16."""
FEW = 12
"""States that are asked about in costlier ways."""
CANDIDATES = 6


@dataclass(frozen=True)
class Contest:
    """One checkpoint on the reference and on another engine, both in float32, and what they are asked."""

    name: str
    reference: Generator
    engine: Generator
    states: list[Example]

    @property
    def prompts(self) -> list[str]:
        """Of all states."""
        return [state.prompt for state in self.states]

    def choices(self) -> list[list[str]]:
        """Some candidates for each of the few states: the oracle's answer there and those at other states."""
        answers = list(dict.fromkeys(state.target for state in self.states))
        return [
            list(dict.fromkeys([state.target, *answers[at :: len(answers) // CANDIDATES]]))[:CANDIDATES]
            for at, state in enumerate(self.states[:FEW])
        ]


@cache
def corpus(prompt_format: str) -> list[Example]:
    """Every decision of the executor on dev paths."""
    annotations = read_annotations(TABLE.with_name("annotations.parquet"))
    dev = [trajectory for trajectory in trajectories() if trajectory.split == "dev"]
    return examples(dev, annotations, "executor", get_format(prompt_format))


def states(prompt_format: str, count: int) -> list[Example]:
    """So many of them, of all tasks."""
    every_example = corpus(prompt_format)
    return [every_example[number * len(every_example) // count] for number in range(count)]


def shipped(name: str) -> Checkpoint:
    """A checkpoint of this repository."""
    return load(CHECKPOINTS / name, "executor")


def exact(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """A copy of it whose weights for CTranslate2 are float32 too."""
    shutil.copytree(checkpoint.folder, folder, ignore=shutil.ignore_patterns("ctranslate2"))
    convert_to_ctranslate2(folder, folder / "ctranslate2", quantization="float32")
    write_card(folder, checkpoint.card)
    return load(folder)


@pytest.fixture(
    scope="module",
    params=[("executor", "ctranslate2"), ("causal/executor", "ctranslate2"), ("causal/executor", "vllm")],
    ids=" on ".join,
)
def contest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contest]:
    """The suite is the same for all of these."""
    name, engine = request.param
    if engine == "vllm" and not request.config.getoption("--vllm"):
        pytest.skip("needs --vllm")
    checkpoint = shipped(name)
    if engine == "ctranslate2":
        checkpoint = exact(checkpoint, tmp_path_factory.mktemp("exact") / name)
    pair = Contest(
        f"{name} on {engine}",
        open_generator("transformers", checkpoint, device="cpu", dtype="float32"),
        open_generator(engine, checkpoint, device="cpu", dtype="float32"),
        states(checkpoint.card.prompt_format, request.config.getoption("--states")),
    )
    yield pair
    pair.engine.close()


def assert_near(actual: Sequence[Candidate], expected: Sequence[Candidate]) -> None:
    """The same texts in the same order, as likely; only what is equally likely may change places."""
    likely = {candidate.text: candidate for candidate in expected}
    assert likely.keys() == {candidate.text for candidate in actual}
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.logprob == pytest.approx(likely[ours.text].logprob, abs=TOLERANCE)
        assert ours.tokens == likely[ours.text].tokens
        assert ours.text == theirs.text or ours.mean_logprob == pytest.approx(theirs.mean_logprob, abs=TOLERANCE)


def alike(actual: Sequence[Generation], expected: Sequence[Generation]) -> float:
    """The share of the states whose best answer is the same."""
    pairs = zip(actual, expected, strict=True)
    same = sum(ours.candidates[0].text == theirs.candidates[0].text for ours, theirs in pairs)
    return same / len(expected)


def test_greedy_answers_are_the_same_and_as_likely(contest: Contest, record: Callable[[str], None]) -> None:
    actual, expected = contest.engine.generate(contest.prompts), contest.reference.generate(contest.prompts)
    same = [
        (answer.candidates[0], reference.candidates[0])
        for answer, reference in zip(actual, expected, strict=True)
        if answer.candidates[0].text == reference.candidates[0].text
    ]
    apart = max(abs(answer.logprob - reference.logprob) for answer, reference in same)
    record(f"{contest.name}, float32: {len(same)} of {len(expected)} greedy answers the same, apart by {apart:.1e}")
    assert len(same) >= SAME * len(expected)
    assert apart < TOLERANCE
    assert [answer.tokens for answer, _ in same] == [reference.tokens for _, reference in same]
    assert [answer.prompt_tokens for answer in actual] == [reference.prompt_tokens for reference in expected]


def test_the_best_of_a_beam_is_the_same(contest: Contest) -> None:
    prompts = contest.prompts[:FEW]
    actual, expected = contest.engine.generate(prompts, n=3), contest.reference.generate(prompts, n=3)
    for answer, reference in zip(actual, expected, strict=True):
        assert len(answer.candidates) == len(reference.candidates) == 3
        assert_near(answer.candidates[:1], reference.candidates[:1])


def test_candidates_are_ranked_alike(contest: Contest) -> None:
    prompts, choices = contest.prompts[:FEW], contest.choices()
    actual, expected = contest.engine.score(prompts, choices), contest.reference.score(prompts, choices)
    for answer, reference in zip(actual, expected, strict=True):
        assert_near(answer.candidates, reference.candidates)
        for ranked in (answer, reference):
            means = [candidate.mean_logprob for candidate in ranked.candidates]
            assert means == sorted(means, reverse=True)
            assert all(len(candidate.token_logprobs) == candidate.tokens for candidate in ranked.candidates)


def test_the_best_candidates_are_the_first_of_all(contest: Contest) -> None:
    prompts, choices = contest.prompts[:FEW], contest.choices()
    everyone = contest.engine.score(prompts, choices)
    for n in (1, 3):
        for best, ranked in zip(contest.engine.score(prompts, choices, n=n), everyone, strict=True):
            assert_near(best.candidates, ranked.candidates[:n])


def test_scores_equal_those_of_the_generation(contest: Contest) -> None:
    prompts = contest.prompts[:FEW]
    greedy = [answer.candidates[0] for answer in contest.engine.generate(prompts)]
    scored = contest.engine.score(prompts, [[candidate.text] for candidate in greedy])
    for candidate, again in zip(greedy, scored, strict=True):
        assert again.candidates[0].logprob == pytest.approx(candidate.logprob, abs=TOLERANCE)


@pytest.mark.parametrize("side", ["reference", "engine"])
def test_a_batch_of_one_equals_a_batch_of_many(contest: Contest, side: str) -> None:
    generator: Generator = getattr(contest, side)
    prompts, choices = contest.prompts[:FEW], contest.choices()
    for many, single in (
        (generator.generate(prompts), [generator.generate([prompt])[0] for prompt in prompts]),
        (
            generator.score(prompts, choices),
            [generator.score([prompt], [own])[0] for prompt, own in zip(prompts, choices, strict=True)],
        ),
    ):
        for from_batch, alone in zip(many, single, strict=True):
            assert_near(from_batch.candidates, alone.candidates)


def test_a_long_prompt_is_cut_at_the_same_place(contest: Contest) -> None:
    longest = max(contest.prompts, key=len)
    long = [" | ".join([longest] * 8), " | ".join([longest] * 9)]
    actual, expected = contest.engine.generate(long), contest.reference.generate(long)
    for answer, reference in zip(actual, expected, strict=True):
        assert answer.prompt_tokens == reference.prompt_tokens
        assert answer.truncated_tokens == reference.truncated_tokens
        assert_near(answer.candidates, reference.candidates)
    assert 0 < actual[0].truncated_tokens < actual[1].truncated_tokens
    assert actual[0].prompt_tokens == actual[1].prompt_tokens


@pytest.mark.parametrize("name", ["executor", "causal/executor"])
def test_int8_and_bfloat16_answer_nearly_alike(
    name: str, request: pytest.FixtureRequest, record: Callable[[str], None]
) -> None:
    checkpoint = shipped(name)
    chosen = states(checkpoint.card.prompt_format, request.config.getoption("--states"))
    prompts = [state.prompt for state in chosen]
    expected = open_generator("transformers", checkpoint, device="cpu", dtype="float32").generate(prompts)
    for engine, dtype in (("ctranslate2", "int8"), ("transformers", "bfloat16")):
        generator = open_generator(engine, checkpoint, device="cpu", dtype=dtype)
        actual = generator.generate(prompts)
        share = alike(actual, expected)
        right = [
            sum(answer.candidates[0].text == state.target for answer, state in zip(answers, chosen, strict=True))
            / len(chosen)
            for answers in (actual, expected)
        ]
        record(
            f"{name} on {engine}, {generator.dtype}: {share:.1%} of {len(chosen)} greedy answers as in float32; "
            f"exact match on dev {right[0]:.1%}, in float32 {right[1]:.1%}"
        )
        assert share >= NEAR
