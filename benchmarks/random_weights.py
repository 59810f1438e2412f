"""Checkpoints with random weights of a given shape, for benchmarks of speed where no trained ones exist.

They read the `seed` format, the published one, by a sub-word tokenizer learnt from the prompts that it is to read, its
vocabulary so small that a token is as long as those of general tokenizers are on this text: about 3.7 characters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import T5Config, T5ForConditionalGeneration

from waymark.agent.prompt import write_prompt
from waymark.contracts import AgentState
from waymark.errors import UnparsableAction
from waymark.inference.checkpoint import CheckpointCard, Training, write_card
from waymark.inference.engines.ctranslate2 import convert_to_ctranslate2
from waymark.worlds.registry import get_format, world_of_format

PUBLISHED_INPUT = 1024
"""Tokens that the published models read."""
_FORMAT = "seed"
_PIECES = 560
_SPECIALS = ["<pad>", "</s>", "<unk>"]
_END = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """What a T5 v1.1 model costs to run."""

    vocabulary: int
    width: int
    key: int
    feedforward: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    tied: bool = False
    """The output layer is the embedding."""


SHAPES = {
    "flan-t5-large": Shape(32_128, 1024, 64, 2816, 16, 24, 24),
    "tiny": Shape(1_024, 64, 16, 128, 4, 2, 2),
}


def shape_of(folder: Path) -> Shape:
    """That of a T5 checkpoint."""
    config = json.loads((folder / "config.json").read_text())
    return Shape(
        vocabulary=config["vocab_size"],
        width=config["d_model"],
        key=config["d_kv"],
        feedforward=config["d_ff"],
        heads=config["num_heads"],
        encoder_layers=config["num_layers"],
        decoder_layers=config["num_decoder_layers"],
        tied=config["tie_word_embeddings"],
    )


def make_checkpoint(folder: Path, shape: Shape, states: Sequence[AgentState], quantization: str | None) -> None:
    """Write an executor of random weights (bf16) for such states.

    Its `max_new_tokens` is the mean length of the actions in these states' histories, end token included: random
    weights say nothing that ends. `quantization` is that of the weights for CTranslate2; None writes none.
    """
    torch.manual_seed(0)
    tokenizer = _tokenizer([write_prompt(get_format(_FORMAT), "executor", state) for state in states])
    answers = [get_format(_FORMAT).target("executor", action) for action in _actions(states)]
    lengths = [len(tokenizer.encode(answer).ids) for answer in answers]
    config: Any = T5Config.from_dict(
        {
            "vocab_size": shape.vocabulary,
            "d_model": shape.width,
            "d_kv": shape.key,
            "d_ff": shape.feedforward,
            "num_layers": shape.encoder_layers,
            "num_decoder_layers": shape.decoder_layers,
            "num_heads": shape.heads,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": shape.tied,
            "decoder_start_token_id": 0,
            "dtype": "bfloat16",
        }
    )
    model: Any = T5ForConditionalGeneration(config)
    model.to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    if quantization is not None:
        convert_to_ctranslate2(folder, folder / "ctranslate2", quantization)
    card = CheckpointCard(
        name="random weights",
        role="executor",
        architecture="seq2seq",
        prompt_format=_FORMAT,
        parameters=model.num_parameters(),
        max_input_tokens=PUBLISHED_INPUT,
        max_new_tokens=round(sum(lengths) / len(lengths)),
        created="",
        training=Training(command="", commit=None, data_sha256="", seed=0, steps=0, recipe={}, dev={}),
        files={},
    )
    write_card(folder, card)


def _actions(states: Sequence[AgentState]) -> list[str]:
    """The latest action of each state that has one which the grammar knows."""
    grammar = world_of_format(_FORMAT).grammar
    known = []
    for state in states:
        try:
            known += [grammar.plain(grammar.formal(turn.acted)) for turn in state.turns[-1:] if turn.action]
        except UnparsableAction:
            continue
    return known


def _tokenizer(texts: Sequence[str]) -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106 - a token of text
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=_PIECES, special_tokens=_SPECIALS, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", _END)])
    return made
