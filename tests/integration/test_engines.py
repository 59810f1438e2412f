"""Engines held to transformers in float32, on small models made on the spot, with a tokenizer of their own.

tests/parity holds all engines to it on the checkpoints that ship and real states.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

from tests.checkpoints import write_tiny_card
from training.export import convert
from waymark.errors import CheckpointError, EngineUnavailable, InvalidInput
from waymark.inference import Generation, Generator
from waymark.inference.checkpoint import Checkpoint, load
from waymark.inference.open_engine import open_generator

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: E402

from waymark.inference.engines.ctranslate2 import convert_to_ctranslate2  # noqa: E402

TEXTS = (
    "look around",
    "you are in the kitchen . a stove , a metal pot ( containing water ) and a door to the hallway",
    "focus on thermometer",
    "move the apple to the red box , then wait until the timer of the freezer says ten minutes have passed",
)
CANDIDATES = ("go to kitchen", "pick up thermometer", "look around", "end", "a")
LIMIT = 16
MAX_NEW_TOKENS = 8
LIMITS: Any = {"max_input_tokens": LIMIT, "max_new_tokens": MAX_NEW_TOKENS, "quantization": "float32"}
Kind = Literal["scaled", "unscaled", "own head", "causal"]
"""A T5 with the logits of old, one without, one with a head of its own; or a Llama."""


@dataclass(frozen=True)
class Pair:
    """The same weights on both engines."""

    reference: Generator
    fast: Generator


def tokenizer() -> Tokenizer:
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Metaspace()
    specials = ["<pad>", "</s>", "<unk>"]
    trained.train_from_iterator([*TEXTS, *CANDIDATES], trainers.BpeTrainer(vocab_size=150, special_tokens=specials))
    trained.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    trained.enable_truncation(5)  # left behind on purpose: engines must not obey it
    return trained


def teach(model: Any) -> None:
    """A few steps, so that answers end before the limit and some candidates are likelier than others."""
    tokens = tokenizer()
    tokens.no_truncation()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(60):
        prompt, answer = TEXTS[step % len(TEXTS)], CANDIDATES[step % len(TEXTS)]
        inputs, labels = tokens.encode(prompt).ids, tokens.encode(answer).ids
        if not model.config.is_encoder_decoder:
            inputs, labels = inputs + labels, [-100] * len(inputs) + labels
        model(input_ids=torch.tensor([inputs]), labels=torch.tensor([labels])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def fresh_t5(*, scaled: bool, own_head: bool) -> Any:
    """A T5 v1.1. `scaled`: logits times d_model ** -0.5, as in T5; `own_head`: lm_head not tied."""
    config = transformers.T5Config(
        vocab_size=160,  # more rows than the tokenizer has tokens, as real models do
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=scaled,
        decoder_start_token_id=0,
    )
    model = transformers.T5ForConditionalGeneration(config)
    if own_head:
        model.lm_head.weight = torch.nn.Parameter(torch.randn(160, 32) * 0.3)
    return model


def fresh_llama() -> Any:
    """A decoder-only model; two heads share keys and values."""
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=160,
            hidden_size=128,  # heads of 32, the smallest that vLLM knows
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )
    )


def make_checkpoint(folder: Path, kind: Kind = "scaled") -> Checkpoint:
    """A hardly trained model with its card, converted in float32."""
    torch.manual_seed(3)
    torch.set_num_threads(1)
    model = fresh_llama() if kind == "causal" else fresh_t5(scaled=kind == "scaled", own_head=kind == "own head")
    teach(model)
    model.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "generation_config.json").unlink()
    parameters = sum(weight.numel() for weight in model.parameters())
    convert_to_ctranslate2(folder, folder / "ctranslate2", quantization="float32")
    write_tiny_card(
        folder,
        architecture="causal" if kind == "causal" else "seq2seq",
        parameters=parameters,
        max_input_tokens=LIMIT,
        max_new_tokens=MAX_NEW_TOKENS,
    )
    return load(folder, "executor")


@pytest.fixture(
    scope="module", params=[*((kind, "ctranslate2") for kind in get_args(Kind)), ("causal", "vllm")], ids=" on ".join
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    kind, engine = request.param
    if engine == "vllm" and not request.config.getoption("--vllm"):
        pytest.skip("needs --vllm")
    checkpoint = make_checkpoint(tmp_path_factory.mktemp("tiny"), kind)
    engines = Pair(
        reference=open_generator("transformers", checkpoint, device="cpu", dtype="float32", threads=1),
        fast=open_generator(engine, checkpoint, device="cpu", dtype="float32", threads=1),
    )
    yield engines
    engines.fast.close()


def assert_same(fast: list[Generation], reference: list[Generation]) -> None:
    for answer, expected in zip(fast, reference, strict=True):
        assert (answer.prompt_tokens, answer.truncated_tokens) == (expected.prompt_tokens, expected.truncated_tokens)
        assert [(candidate.text, candidate.tokens) for candidate in answer.candidates] == [
            (candidate.text, candidate.tokens) for candidate in expected.candidates
        ]
        assert [candidate.logprob for candidate in answer.candidates] == pytest.approx(
            [candidate.logprob for candidate in expected.candidates], abs=1e-3
        )


def test_both_engines_give_the_same_greedy_answers_and_logprobs(pair: Pair) -> None:
    fast = pair.fast.generate(TEXTS)
    assert any(1 < candidate.tokens < MAX_NEW_TOKENS for answer in fast for candidate in answer.candidates)
    assert_same(fast, pair.reference.generate(TEXTS))


def test_both_engines_agree_on_the_results_of_a_beam(pair: Pair) -> None:
    for from_fast, from_reference in zip(
        pair.fast.generate(TEXTS, n=4), pair.reference.generate(TEXTS, n=4), strict=True
    ):
        assert len(from_fast.candidates) == len(from_reference.candidates) == 4
        assert from_fast.candidates[0].text == from_reference.candidates[0].text
        logprobs = {candidate.text: candidate.logprob for candidate in from_reference.candidates}
        shared = [candidate for candidate in from_fast.candidates if candidate.text in logprobs]
        assert len(shared) > 1
        assert [candidate.logprob for candidate in shared] == pytest.approx(
            [logprobs[candidate.text] for candidate in shared], abs=1e-3
        )


def test_both_engines_rank_candidates_alike(pair: Pair) -> None:
    fast = pair.fast.score(TEXTS, [CANDIDATES] * len(TEXTS))
    means = [candidate.mean_logprob for candidate in fast[0].candidates]
    assert means == sorted(means, reverse=True)
    assert_same(fast, pair.reference.score(TEXTS, [CANDIDATES] * len(TEXTS)))


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_the_best_candidates_are_the_first_of_all(pair: Pair, engine: str, n: int) -> None:
    generator: Generator = getattr(pair, engine)
    choices = [CANDIDATES[: len(CANDIDATES) - number % 2] for number in range(len(TEXTS))]
    everyone = generator.score(TEXTS, choices)
    assert_same(
        generator.score(TEXTS, choices, n=n),
        [dataclasses.replace(generation, candidates=generation.candidates[:n]) for generation in everyone],
    )


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_a_batch_of_one_equals_a_batch_of_many(pair: Pair, engine: str) -> None:
    generator: Generator = getattr(pair, engine)
    alone = [generator.generate([text], n=2)[0] for text in TEXTS]
    assert_same(generator.generate(TEXTS, n=2), alone)
    alone = [generator.score([text], [CANDIDATES[:2]])[0] for text in TEXTS]
    assert_same(generator.score(TEXTS, [CANDIDATES[:2]] * len(TEXTS)), alone)


def test_a_long_prompt_is_cut_at_its_end_and_reported(pair: Pair) -> None:
    long = pair.fast.generate([TEXTS[3]])[0]
    assert long.prompt_tokens == LIMIT
    assert long.truncated_tokens > 0
    same_start = pair.fast.generate([f"{TEXTS[3]} and more that is never read"])[0]
    assert same_start.truncated_tokens > long.truncated_tokens
    assert same_start.candidates == long.candidates


@pytest.mark.parametrize("kind", ["scaled", "causal"])
def test_int8_stays_int8_and_near_float32(tmp_path: Path, kind: Kind) -> None:
    checkpoint = make_checkpoint(tmp_path, kind)
    convert_to_ctranslate2(tmp_path, tmp_path / "ctranslate2", quantization="int8")
    small = open_generator("ctranslate2", checkpoint)
    assert small.dtype.startswith("int8")
    exact = open_generator("transformers", checkpoint, dtype="float32").score(TEXTS[:1], [CANDIDATES])[0]
    near = small.score(TEXTS[:1], [CANDIDATES])[0]
    by_text = {candidate.text: candidate.mean_logprob for candidate in near.candidates}
    # Random weights make large logits. A processor without VNNI adds int8 products up in 16 bits, and is off by twice
    # as much as one with it.
    assert [by_text[candidate.text] for candidate in exact.candidates] == pytest.approx(
        [candidate.mean_logprob for candidate in exact.candidates], abs=0.3
    )


def test_missing_converted_weights_are_reported_with_the_command(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path)
    (tmp_path / "ctranslate2" / "model.bin").unlink()
    with pytest.raises(CheckpointError, match="training convert"):
        open_generator("ctranslate2", checkpoint)


def test_layers_that_the_weights_lack_are_never_started_at_random(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path, "causal")
    config = json.loads((tmp_path / "config.json").read_text())
    config["num_hidden_layers"] += 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="lack model"):
        open_generator("transformers", checkpoint)


def test_an_unusable_engine_names_usable_ones(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path)
    with pytest.raises(EngineUnavailable, match="ctranslate2 or transformers"):
        open_generator("vllm", checkpoint)  # it is a T5
    with pytest.raises(EngineUnavailable, match="float32"):
        open_generator("ctranslate2", checkpoint, dtype="float3")
    with pytest.raises(EngineUnavailable, match="bfloat16"):
        open_generator("transformers", checkpoint, dtype="float3")


@pytest.mark.parametrize("kind", ["own head", "causal"])
def test_bfloat16_gives_the_answers_of_float32(tmp_path: Path, kind: Kind) -> None:
    checkpoint = make_checkpoint(tmp_path, kind)
    half = open_generator("transformers", checkpoint, device="cpu", dtype="bfloat16", threads=1)
    exact = open_generator("transformers", checkpoint, device="cpu", dtype="float32", threads=1)
    assert half.dtype == "bfloat16"
    assert [answer.candidates[0].text for answer in half.generate(TEXTS)] == [
        answer.candidates[0].text for answer in exact.generate(TEXTS)
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("engine", ["ctranslate2", "transformers"])
def test_a_device_that_is_not_there_is_refused(engine: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path)
    for device, words in (("cuda", "No CUDA device is visible"), ("tpu", "refuses device 'tpu'")):
        with pytest.raises(EngineUnavailable, match=words):
            open_generator(engine, checkpoint, device=device)


@pytest.mark.parametrize("engine", ["ctranslate2", "transformers"])
def test_a_missing_engine_says_which_package_to_install(engine: str, tmp_path: Path) -> None:
    make_checkpoint(tmp_path)
    package = "torch" if engine == "transformers" else engine
    code = (
        f"import sys; from pathlib import Path; sys.modules[{package!r}] = None\n"
        "from waymark.inference.checkpoint import load; from waymark.errors import EngineUnavailable\n"
        "from waymark.inference.open_engine import open_generator\n"
        f"try: open_generator({engine!r}, load(Path({str(tmp_path)!r})))\n"
        "except EngineUnavailable as error: print(error)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert f"needs the package {package}" in ended.stdout
    assert "pip install" in ended.stdout


def test_a_model_from_elsewhere_becomes_a_checkpoint_in_one_step(tmp_path: Path) -> None:
    original = make_checkpoint(tmp_path / "made")
    (original.folder / "card.json").unlink()
    (original.folder / "training_args.bin").write_bytes(b"a pickle that stays behind")
    with pytest.raises(InvalidInput, match="--role ROLE"):
        convert(original.folder, tmp_path / "out", role=None, prompt_format=None, **LIMITS)
    card = convert(original.folder, tmp_path / "out", role="flat", prompt_format="seed", **LIMITS)
    assert (card.role, card.architecture, card.max_input_tokens) == ("flat", "seq2seq", LIMIT)
    assert_same(
        open_generator("ctranslate2", load(tmp_path / "out")).generate(TEXTS),
        open_generator("transformers", original, dtype="float32").generate(TEXTS),
    )


def test_serving_with_ctranslate2_does_not_import_torch() -> None:
    code = (
        "import sys, services.executor.__main__, waymark.inference.engines.ctranslate2; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
