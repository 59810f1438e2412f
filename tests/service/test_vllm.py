"""The vLLM engine against servers that speak its protocol: what it asks, and what it makes of those that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from tests.checkpoints import LLAMA, T5, write_model, write_tiny_card
from tests.vllm_server import END, FakeVllm, next_logprobs, serve_fake_vllm
from waymark.errors import EngineUnavailable, InvalidInput, ServiceRejected, ServiceUnavailable
from waymark.inference.checkpoint import Checkpoint, load
from waymark.inference.engines.vllm import VllmGenerator
from waymark.inference.engines.vllm_process import served_name
from waymark.inference.open_engine import open_generator
from waymark.serving.app import create_app
from waymark.serving.loaded_models import scripted_model
from waymark.serving.settings import ServiceSettings

WORDS = ("<pad>", "</s>", "<unk>", *(f"▁{word}" for word in "go to kitchen look around pick up a".split()))
PROMPTS = ("go to kitchen", "look around", "pick up a", "a")


def make_checkpoint(folder: Path, architecture: str = "causal") -> Checkpoint:
    """A checkpoint whose weights nobody reads: those that answer are vLLM's."""
    folder.mkdir()
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.add_special_tokens(list(WORDS[:3]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {**(T5 if architecture == "seq2seq" else LLAMA), "eos_token_id": END, "vocab_size": len(WORDS)}
    parameters = write_model(folder, config)
    write_tiny_card(folder, architecture=architecture, parameters=parameters, max_input_tokens=16, max_new_tokens=6)
    return load(folder)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return make_checkpoint(tmp_path / "checkpoint")


@pytest.fixture
def fleet(checkpoint: Checkpoint) -> Iterator[Callable[..., FakeVllm]]:
    """Starts servers of the checkpoint."""
    with ExitStack() as stack:

        def start(**differences: object) -> FakeVllm:
            fake = FakeVllm(model=served_name(checkpoint), vocabulary=len(WORDS))
            return stack.enter_context(serve_fake_vllm(replace(fake, **differences)))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def ask(checkpoint: Checkpoint) -> Iterator[Callable[..., VllmGenerator]]:
    """Opens the engine over servers."""
    with ExitStack() as stack:

        def opened(*servers: FakeVllm) -> VllmGenerator:
            generator = VllmGenerator(checkpoint, urls=[server.url for server in servers])
            stack.callback(generator.close)
            return generator

        yield opened


Fleet = Callable[..., FakeVllm]
Ask = Callable[..., VllmGenerator]


def until(true: Callable[[], bool]) -> None:
    """Wait for a watcher to notice."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_ready(generator: VllmGenerator) -> bool:
    try:
        generator.check()
    except ServiceUnavailable:
        return False
    return True


def test_prompts_and_answers_are_exchanged_as_token_ids(fleet: Fleet, ask: Ask) -> None:
    server = fleet()
    [answer] = ask(server).generate(["go to kitchen"])
    prompt = [3, 4, 5, END]
    assert server.asked == [[prompt]]
    expected: list[int] = []
    logprob = 0.0
    while len(expected) < 6 and expected[-1:] != [END]:
        known = next_logprobs([*prompt, *expected], len(WORDS))
        expected.append(known.index(max(known)))
        logprob += max(known)
    best = answer.candidates[0]
    assert best.text == " ".join(WORDS[token][1:] for token in expected if token > 2)
    assert best.tokens == len(expected)
    assert best.logprob == pytest.approx(logprob)
    assert (answer.prompt_tokens, answer.truncated_tokens) == (4, 0)


def test_candidates_are_ranked_by_mean_logprob_with_the_end_token(fleet: Fleet, ask: Ask) -> None:
    candidates = ["look around", "go to kitchen", "a"]
    [scored] = ask(fleet()).score(["pick up"], [candidates])
    for candidate in scored.candidates:
        row = [*(WORDS.index(f"▁{word}") for word in candidate.text.split()), END]
        prompt = [8, 9, END]
        expected = [next_logprobs([*prompt, *row[:place]], len(WORDS))[token] for place, token in enumerate(row)]
        assert candidate.token_logprobs == pytest.approx(expected)
    means = [candidate.mean_logprob for candidate in scored.candidates]
    assert means == sorted(means, reverse=True)
    assert {candidate.text for candidate in scored.candidates} == set(candidates)


def test_the_best_of_n_is_as_likely_as_greedy(fleet: Fleet, ask: Ask) -> None:
    generator = ask(fleet())
    greedy = generator.generate(PROMPTS)
    for answer, greedy_answer in zip(generator.generate(PROMPTS, n=4), greedy, strict=True):
        logprobs = [candidate.logprob for candidate in answer.candidates]
        assert len(logprobs) == 4
        assert logprobs == sorted(logprobs, reverse=True)
        assert logprobs[0] >= greedy_answer.candidates[0].logprob - 1e-9


def test_a_batch_is_split_among_servers_and_returned_in_order(fleet: Fleet, ask: Ask) -> None:
    servers = fleet(), fleet()
    together = ask(*servers).generate(PROMPTS)
    assert sorted(len(prompts) for server in servers for prompts in server.asked) == [2, 2]
    assert together == ask(fleet()).generate(PROMPTS)


def test_prompts_of_a_failed_server_go_to_the_others(fleet: Fleet, ask: Ask) -> None:
    good, bad = fleet(), fleet()
    generator = ask(good, bad)
    expected = ask(fleet()).generate(PROMPTS)
    bad.status, bad.only_completions_fail = 500, True
    assert generator.generate(PROMPTS) == expected
    assert generator.generate(PROMPTS) == expected


def test_a_server_comes_back_when_it_is_well(fleet: Fleet, ask: Ask) -> None:
    good, bad = fleet(), fleet()
    generator = ask(good, bad)
    bad.status = 503
    generator.generate(PROMPTS)
    before = len(bad.asked)
    bad.status = 200

    def asked_again() -> bool:
        generator.generate(PROMPTS)
        return len(bad.asked) > before

    until(asked_again)


def test_without_any_server_requests_are_unavailable_until_one_is_back(
    checkpoint: Checkpoint, fleet: Fleet, ask: Ask
) -> None:
    fake = FakeVllm(model=served_name(checkpoint), vocabulary=len(WORDS))
    with serve_fake_vllm(fake):
        generator = ask(fake)
        expected = generator.generate(PROMPTS)
    with pytest.raises(ServiceUnavailable, match=fake.url):
        generator.generate(PROMPTS)
    assert not is_ready(generator)
    with serve_fake_vllm(fake, port=int(fake.url.rpartition(":")[2])):
        until(lambda: is_ready(generator))
        assert generator.generate(PROMPTS) == expected


@pytest.mark.anyio
async def test_a_service_is_not_ready_while_its_vllm_is_gone(fleet: Fleet, ask: Ask) -> None:
    server = fleet()
    generator = ask(server)
    model = replace(scripted_model("default", "executor"), generator=generator)
    app = create_app("executor", {"default": model}, ServiceSettings())
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        assert (await client.get("/health/ready")).status_code == 200
        server.status = 503
        until(lambda: not is_ready(generator))
        refused = await client.get("/health/ready")
        assert refused.status_code == 503
        assert server.url in refused.json()["detail"]
        body = {"state": {"task": "Go.", "look": "A hall.", "current_subgoal": "go()"}}
        assert (await client.post("/v1/action", json=body)).status_code == 503
        server.status = 200
        until(lambda: is_ready(generator))
        assert (await client.get("/health/ready")).status_code == 200


def test_a_server_of_other_weights_is_refused_with_a_remedy(checkpoint: Checkpoint, fleet: Fleet, ask: Ask) -> None:
    with pytest.raises(EngineUnavailable, match="serves another") as raised:
        ask(fleet(model="another"))
    assert f"--served-model-name {served_name(checkpoint)}" in raised.value.remedy


def test_a_server_with_too_little_room_is_refused(fleet: Fleet, ask: Ask) -> None:
    with pytest.raises(EngineUnavailable, match="take 20 tokens"):
        ask(fleet(max_model_len=20))


def test_a_candidate_over_the_length_limit_is_invalid_input(fleet: Fleet, ask: Ask) -> None:
    with pytest.raises(InvalidInput, match="64 tokens"):
        ask(fleet()).score(["go"], [["a", "a " * 70]])


def test_a_refused_request_says_why(fleet: Fleet, ask: Ask) -> None:
    server = fleet()
    generator = ask(server)
    server.status, server.only_completions_fail = 400, True
    with pytest.raises(ServiceRejected, match="I am not well"):
        generator.generate(PROMPTS)


def test_t5_is_refused_with_the_engines_that_serve_it(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="does not support T5") as raised:
        open_generator("vllm", make_checkpoint(tmp_path / "t5", "seq2seq"))
    assert "ctranslate2 or transformers" in raised.value.remedy


def test_nothing_at_the_address_is_one_clear_error(checkpoint: Checkpoint) -> None:
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        open_generator("vllm", checkpoint, vllm_urls=["http://127.0.0.1:9"])


@pytest.mark.parametrize(
    ("program", "word"), [(None, "is no program"), ("#!/bin/sh\necho no vllm here >&2; exit 1\n", "no vllm here")]
)
def test_an_environment_without_vllm_is_one_clear_error(
    checkpoint: Checkpoint, tmp_path: Path, program: str | None, word: str
) -> None:
    python = tmp_path / "python"
    if program is not None:
        python.write_text(program)
        python.chmod(0o755)
    with pytest.raises(EngineUnavailable, match=word):
        open_generator("vllm", checkpoint, vllm_python=python)


def test_a_vllm_that_cannot_start_is_reported_with_its_log(checkpoint: Checkpoint, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *metadata*) echo cpu;; *) echo ValueError: too big; exit 1;; esac\n')
    python.chmod(0o755)
    with pytest.raises(EngineUnavailable, match="ValueError: too big") as raised:
        open_generator("vllm", checkpoint, vllm_python=python)
    log = Path(raised.value.remedy.split()[-1])
    assert "too big" in log.read_text()
    log.unlink()
    with pytest.raises(EngineUnavailable, match="runs on cpu"):
        open_generator("vllm", checkpoint, vllm_python=python, device="cuda")
