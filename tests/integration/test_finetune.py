"""Fine-tuning for real, small: both architectures, whole and by adapters, killed, resumed and on two devices.

The pretrained models are made on the spot with the classes that a hub name would load.
"""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import ctranslate2
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from tokenizers import processors
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from tests.oracle import one_of_each_task, rule_annotations
from tests.training_runs import COURSE, TINY, Training
from training.cli import app
from training.datasets import Example, examples
from training.export import export
from training.finetune import Run
from training.model import open_model, open_tokenizer
from training.tokenizer import train_tokenizer
from waymark.errors import CheckpointError, InvalidInput
from waymark.inference.checkpoint import load
from waymark.inference.engines.ctranslate2 import convert_to_ctranslate2
from waymark.inference.tokens import Tokens, copy_tokens, read_tokenizer
from waymark.worlds.scienceworld.prompts.compact import COMPACT

ROOT = Path(__file__).parents[2]
ACCELERATE = ROOT / "training" / "recipes" / "accelerate"
Architecture = Literal["seq2seq", "causal"]


@pytest.fixture(scope="module")
def corpus() -> list[Example]:
    chosen = one_of_each_task()[:4]
    return examples(chosen, rule_annotations(chosen), "executor", COMPACT)


@pytest.fixture(scope="module")
def pretrained(corpus: list[Example], tmp_path_factory: pytest.TempPathFactory) -> dict[Architecture, Path]:
    """A T5 shaped as flan-t5 is (untied, more embeddings than tokens) and a Llama whose texts open with a token."""
    tokenizer = train_tokenizer((text for example in corpus for text in (example.prompt, example.target)), 300)
    size = tokenizer.get_vocab_size()
    torch.manual_seed(0)
    t5: Any = T5Config
    flan = T5ForConditionalGeneration(
        t5(
            vocab_size=size + 28,
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_heads=2,
            num_layers=1,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )
    folders: dict[Architecture, Path] = {
        "seq2seq": tmp_path_factory.mktemp("flan"),
        "causal": tmp_path_factory.mktemp("llama"),
    }
    flan.save_pretrained(folders["seq2seq"])
    tokenizer.save(str(folders["seq2seq"] / "tokenizer.json"))
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", size)])
    config: Any = LlamaConfig
    llama = LlamaForCausalLM(
        config(
            vocab_size=size + 1,
            hidden_size=16,
            intermediate_size=32,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_hidden_layers=1,
            max_position_embeddings=64,
            bos_token_id=size,
            eos_token_id=[1, 2],
            rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        )
    )
    llama.save_pretrained(folders["causal"])
    tokenizer.save(str(folders["causal"] / "tokenizer.json"))
    return folders


def _until_evaluated(run: Run) -> None:
    next(row for row in run.train() if "dev_loss" in row)


def _finish(run: Run) -> list[dict[str, float]]:
    return list(run.train())


def test_a_base_with_more_words_reads_known_words_as_before(
    pretrained: dict[Architecture, Path], corpus: list[Example]
) -> None:
    base = str(pretrained["seq2seq"])
    recipe = replace(TINY, base=base, more_words=3)
    before = open_tokenizer(replace(recipe, more_words=0), ())
    after = open_tokenizer(recipe, [f"{corpus[0].prompt} quokka zyzzyva quokka"])
    model, plain = open_model(recipe, after), open_model(replace(recipe, more_words=0), before)
    for name in ("get_input_embeddings", "get_output_embeddings"):
        grown, old = getattr(model, name)().weight, getattr(plain, name)().weight
        copies = [before.token_to_id(copy) for copy in copy_tokens(32)]
        assert (
            len(grown)
            == after.get_vocab_size()
            == before.get_vocab_size() + len(after.get_vocab()) - len(before.get_vocab())
        )
        assert torch.equal(grown[after.token_to_id("<copy_5>")], old[before.token_to_id("<copy_5>")])
        assert torch.equal(grown[after.token_to_id("</s>")], old[before.token_to_id("</s>")])
        assert torch.allclose(grown[after.token_to_id("▁quokka")], old[copies].mean(dim=0), atol=1e-5)


@pytest.mark.parametrize("rank", [0, 4], ids=["whole", "lora"])
@pytest.mark.parametrize("architecture", ["seq2seq", "causal"])
def test_a_pretrained_model_is_tuned_resumed_and_exported(
    architecture: Architecture, rank: int, pretrained: dict[Architecture, Path], corpus: list[Example], tmp_path: Path
) -> None:
    recipe = replace(
        TINY, architecture=architecture, base=str(pretrained[architecture]), lora_rank=rank, recompute=bool(rank)
    )
    run = Run(tmp_path / "run", recipe, corpus, corpus)
    assert (run.trained_parameters < run.parameters / 2) == bool(rank)
    before = run.evaluate(corpus).loss
    _until_evaluated(run)
    run = Run(tmp_path / "run", recipe, corpus, corpus)
    assert run.step == 2
    _finish(run)
    assert run.step == 4
    uninterrupted = Run(tmp_path / "uninterrupted", recipe, corpus, corpus)
    _finish(uninterrupted)
    assert run.evaluate(corpus) == uninterrupted.evaluate(corpus)
    assert run.evaluate(corpus).loss < before
    run.save(tmp_path / "run" / "best")  # the last weights, whichever were best
    card = export(
        tmp_path / "run", tmp_path / "out", role="executor", prompt_format="compact", command="x", data_sha256="0"
    )
    assert card.architecture == architecture
    assert "ctranslate2/model.bin" in load(tmp_path / "out", "executor").card.files
    plain = Run(tmp_path / "plain", replace(recipe, base=str(tmp_path / "out"), lora_rank=0), corpus, corpus)
    assert card.parameters == plain.parameters
    assert plain.evaluate(corpus).loss == pytest.approx(run.evaluate(corpus).loss, rel=0.01)


def test_a_causal_model_answers_alike_alone_and_batched(
    pretrained: dict[Architecture, Path], corpus: list[Example], tmp_path: Path
) -> None:
    recipe = replace(TINY, architecture="causal", base=str(pretrained["causal"]))
    run = Run(tmp_path, recipe, corpus, corpus)
    shortest, longest = (pick(corpus, key=lambda example: len(example.prompt)) for pick in (min, max))
    alone = [run.evaluate([example]).loss for example in (shortest, longest)]
    tokens = Tokens(run.tokenizer, 1)
    weights = [
        len(tokens.target(example.target, *tokens.prompts([example.prompt], 512))) + 1
        for example in (shortest, longest)
    ]
    together = run.evaluate([shortest, longest]).loss
    assert together == pytest.approx(sum(a * b for a, b in zip(alone, weights, strict=True)) / sum(weights), rel=0.01)


def test_an_exported_causal_model_answers_alike_on_ctranslate2(
    pretrained: dict[Architecture, Path], corpus: list[Example], tmp_path: Path
) -> None:
    recipe = replace(TINY, architecture="causal", base=str(pretrained["causal"]), steps=2)
    _finish(Run(tmp_path / "run", recipe, corpus, corpus))
    export(tmp_path / "run", tmp_path / "out", role="executor", prompt_format="compact", command="x", data_sha256="0")
    auto: Any = AutoModelForCausalLM
    model = auto.from_pretrained(tmp_path / "out", dtype=torch.float32)
    convert_to_ctranslate2(tmp_path / "out", tmp_path / "exact", quantization="float32")
    generator = ctranslate2.Generator(str(tmp_path / "exact"))
    tokens = Tokens(read_tokenizer(tmp_path / "out" / "tokenizer.json"), model.config.eos_token_id)
    lengths = set()
    for example in corpus[::20]:
        ids = tokens.prompts([example.prompt], recipe.max_input_tokens)[0].ids
        wanted = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :].tolist()
        results = generator.generate_batch([tokens.names(ids)], max_length=12, include_prompt_in_result=False)
        assert results[0].sequences_ids[0] == [token for token in wanted if token != tokens.end]
        lengths.add(len(wanted))
    assert max(lengths) > 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architecture": "causal"}, "is a seq2seq model"),
        ({"architecture": "causal", "base": "causal", "max_input_tokens": 100}, "reads 64 tokens"),
    ],
)
def test_a_base_that_does_not_fit_the_recipe_is_refused(
    changed: dict[str, Any], message: str, pretrained: dict[Architecture, Path], tmp_path: Path
) -> None:
    folder = pretrained[changed.get("base", "seq2seq")]
    with pytest.raises(InvalidInput, match=message):
        open_model(replace(TINY, **changed | {"base": str(folder)}), read_tokenizer(folder / "tokenizer.json"))


def test_a_base_without_weights_is_refused(pretrained: dict[Architecture, Path], tmp_path: Path) -> None:
    folder = pretrained["seq2seq"]
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(CheckpointError, match="Cannot load the base model"):
        open_model(replace(TINY, base=str(tmp_path)), read_tokenizer(folder / "tokenizer.json"))


# --- as processes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    return Training(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def uninterrupted(training: Training) -> list[dict[str, float]]:
    """The dev scores of a run that nothing interrupts."""
    return training.finish("whole", COURSE)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    training: Training, uninterrupted: list[dict[str, float]]
) -> None:
    process = training.start("killed", COURSE, "--save-minutes", "0")
    state = training.folder / "killed" / "state.pt"
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 0 < torch.load(state, weights_only=True)["step"] < COURSE.steps
    assert training.finish("killed", COURSE) == uninterrupted
    assert list((training.folder / "killed" / "tensorboard").iterdir())


def test_two_processes_train_as_one_does(training: Training, uninterrupted: list[dict[str, float]]) -> None:
    assert "1 process on cpu, computing in " in training.printed["whole"]
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "--")
    scores = training.finish("two", COURSE, launcher=launcher)
    assert "2 processes on cpu:0, cpu:0, computing in " in training.printed["two"]  # each names its device
    assert [row["step"] for row in scores] == [row["step"] for row in uninterrupted] == [8, 16, 24]
    for shared, alone in zip(scores, uninterrupted, strict=True):
        assert shared["dev_loss"] == pytest.approx(alone["dev_loss"], rel=0.002)


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"batch": 5000}, ("--run", "new"), "fewer than one batch of 5000"),
        ({"rename": 0.5}, ("--format", "seed", "--run", "new"), "The recipe has rename"),
        ({"width": 32}, (), "was begun with width = 16"),
        ({}, ("--format", "seed"), "is a run of role executor in format compact"),
        ({}, ("--wandb", "x"), "pip install wandb"),
    ],
)
def test_wrong_settings_are_refused_before_training(
    changed: dict[str, Any],
    options: tuple[str, ...],
    message: str,
    training: Training,
    uninterrupted: list[dict[str, float]],
) -> None:
    arguments = training.arguments(str(training.folder / "whole"), replace(COURSE, **changed))
    with pytest.raises(InvalidInput, match=message):
        app([*arguments, *options], standalone_mode=False)


@pytest.mark.parametrize("path", sorted(ACCELERATE.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_the_configurations_that_ship(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert (config.mixed_precision, config.num_processes) == ("bf16", 4)
