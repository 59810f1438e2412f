"""Models to train: pretrained or from scratch, encoder-decoder or decoder-only, all weights or adapters.

Two kinds of architecture share one framing of text (`waymark.inference.tokens`): a prompt, one end token, the answer,
one end token. An encoder-decoder reads the prompt and writes the answer; a causal model continues the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from training.base_models import require_fitting_base
from training.recipe import Recipe
from training.tokenizer import END, PAD, extend_tokenizer, train_tokenizer
from waymark.errors import CheckpointError
from waymark.inference.tokens import Tokens, copy_tokens, read_tokenizer

_NEIGHBOURS = (1, 17, 2, 18)
"""T5's buckets of relative position: the word before, after, two before, two after."""
_NEIGHBOUR_BIAS = 6.0


def open_tokenizer(recipe: Recipe, texts: Iterable[str]) -> Tokenizer:
    """The base model's tokenizer, with more words if the recipe says so, or a new one; words are those of prompts and
    targets. Raises InvalidInput and CheckpointError.
    """
    if not recipe.base:
        return train_tokenizer(texts, recipe.vocabulary)
    tokenizer = _tokenizer_of_base(recipe)
    return extend_tokenizer(tokenizer, texts, recipe.more_words) if recipe.more_words else tokenizer


def _tokenizer_of_base(recipe: Recipe) -> Tokenizer:
    kept = Path(recipe.base) / "tokenizer.json"
    if kept.exists():
        return read_tokenizer(kept)
    try:
        return AutoTokenizer.from_pretrained(recipe.base, trust_remote_code=False).backend_tokenizer
    except (OSError, ValueError) as error:
        raise _unloadable(recipe.base, error) from error


def open_tokens(recipe: Recipe, tokenizer: Tokenizer) -> Tokens:
    """The text encoding of the recipe's model; its weights are not needed. Raises CheckpointError."""
    return Tokens(tokenizer, _end(base_config(recipe)) if recipe.base else tokenizer.get_vocab()[END])


def open_model(recipe: Recipe, tokenizer: Tokenizer) -> Any:
    """The recipe's model in float32 on the CPU, with adapters if the recipe has them.

    Raises InvalidInput when the base is of another family or architecture or too short for the recipe's prompts,
    CheckpointError when it cannot be loaded or its tokenizer does not fit.
    """
    # transformers' annotations of its own classes contradict what they do, hence Any.
    if not recipe.base:
        return fresh_model(recipe, tokenizer)
    model = _pretrained(recipe)
    if recipe.more_words:
        _extend_embeddings(model, _tokenizer_of_base(recipe), tokenizer)
    if tokenizer.get_vocab_size() > model.get_input_embeddings().num_embeddings:
        raise CheckpointError(
            f"The tokenizer of {recipe.base} has more tokens than the model has embeddings.",
            remedy="Keep the tokenizer that the model was trained with.",
        )
    return _with_adapters(model, recipe) if recipe.lora_rank else model


def fresh_model(recipe: Recipe, tokenizer: Tokenizer) -> Any:
    """A model of the recipe's shape with random weights."""
    return _fresh_causal(recipe, tokenizer) if recipe.architecture == "causal" else _fresh_t5(recipe, tokenizer)


def end_token(model: Any) -> int:
    """The token that ends a prompt and an answer; the first one if a model has several."""
    return _end(model.config)


def pad_token(model: Any) -> int:
    """The token that pads a batch. It is always masked, so any token can be used if a model has none."""
    pad = model.config.pad_token_id
    return end_token(model) if pad is None else int(pad)


def plain_copy(model: Any, recipe: Recipe, weights: Mapping[str, Tensor]) -> Any:
    """A copy of a model on the CPU in bf16, with adapters merged. `weights` is its whole state, on any device."""
    base = model.get_base_model() if recipe.lora_rank else model
    with torch.device("meta"):
        copy = type(base)(base.config)
        if recipe.lora_rank:
            copy = _with_adapters(copy, recipe)
    copy.to_empty(device="cpu")
    base_of_copy = copy.get_base_model() if recipe.lora_rank else copy
    base_of_copy.tie_weights()
    copy.load_state_dict(weights)
    if recipe.lora_rank:
        copy = copy.merge_and_unload()
    # So a service need not choose among several end tokens, or invent a padding token.
    copy.config.eos_token_id, copy.config.pad_token_id = end_token(model), pad_token(model)
    return copy.to(torch.bfloat16)


def base_config(recipe: Recipe) -> Any:
    """The configuration of a recipe's base. Raises CheckpointError."""
    try:
        return AutoConfig.from_pretrained(recipe.base, trust_remote_code=False)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise _unloadable(recipe.base, error) from error


def _end(config: Any) -> int:
    end = config.eos_token_id
    return int(end[0] if isinstance(end, list) else end)


def _pretrained(recipe: Recipe) -> Any:
    config = base_config(recipe)
    require_fitting_base(recipe, config.to_dict())
    for name in ("dropout_rate", "attention_dropout"):  # T5's name, and that of Llama and its kin
        if hasattr(config, name):
            setattr(config, name, recipe.dropout)
    auto: Any = AutoModelForCausalLM if recipe.architecture == "causal" else AutoModelForSeq2SeqLM
    try:
        model = auto.from_pretrained(
            recipe.base, config=config, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _unloadable(recipe.base, error) from error
    return model


def _extend_embeddings(model: Any, before: Tokenizer, after: Tokenizer) -> None:
    """Give each token of a new tokenizer the embedding that it had; new tokens get the mean of the copy tokens'."""
    vocabulary = before.get_vocab()
    copies = [number for name, number in vocabulary.items() if name in copy_tokens(len(vocabulary))]
    kept = [matrix.weight.detach().clone() for matrix in _embeddings(model)]
    model.resize_token_embeddings(after.get_vocab_size(), mean_resizing=False)
    with torch.no_grad():
        for matrix, old in zip(_embeddings(model), kept, strict=True):
            for name, number in after.get_vocab().items():
                matrix.weight[number] = old[vocabulary[name]] if name in vocabulary else old[copies].mean(dim=0)


def _embeddings(model: Any) -> list[Any]:
    """The matrices with a row for each token: of the input, and of the output if it has its own."""
    read, written = model.get_input_embeddings(), model.get_output_embeddings()
    return [read] if written is None or written.weight is read.weight else [read, written]


def _unloadable(base: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"Cannot load the base model {base}: {str(error).strip().splitlines()[0]}",
        remedy="Name a folder with config.json, model.safetensors and tokenizer.json, or a model on the hub.",
    )


def _with_adapters(model: Any, recipe: Recipe) -> Any:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=recipe.lora_rank, lora_alpha=recipe.lora_alpha, lora_dropout=recipe.dropout, target_modules="all-linear"
    )
    return get_peft_model(model, settings)


def _fresh_t5(recipe: Recipe, tokenizer: Tokenizer) -> Any:
    config: Any = T5Config
    model = T5ForConditionalGeneration(
        config(
            vocab_size=tokenizer.get_vocab_size(),
            d_model=recipe.width,
            d_ff=recipe.feedforward,
            d_kv=recipe.width // recipe.heads,
            num_heads=recipe.heads,
            num_layers=recipe.encoder_layers,
            num_decoder_layers=recipe.decoder_layers,
            dropout_rate=recipe.dropout,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=True,
            pad_token_id=tokenizer.token_to_id(PAD),
            eos_token_id=tokenizer.token_to_id(END),
            decoder_start_token_id=tokenizer.token_to_id(PAD),
        )
    )
    _begin_copying(model)
    return model


def _fresh_causal(recipe: Recipe, tokenizer: Tokenizer) -> Any:
    config: Any = LlamaConfig
    return LlamaForCausalLM(
        config(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=recipe.width,
            intermediate_size=recipe.feedforward,
            num_attention_heads=recipe.heads,
            num_hidden_layers=recipe.decoder_layers,
            max_position_embeddings=recipe.max_input_tokens + recipe.max_new_tokens,
            attention_dropout=recipe.dropout,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.token_to_id(PAD),
            bos_token_id=None,
            eos_token_id=tokenizer.token_to_id(END),
        )
    )


def _begin_copying(model: Any) -> None:
    """Initialize a fresh T5 so that it copies: four encoder heads attend to the neighbours, cross-attention passes
    words on.

    To copy, a model finds the word after the word that it wrote last. So the encoder must mark each word with its
    neighbour, and the decoder must pass the word that it finds to the (tied) output. From random weights both are
    learnt late, because a relative bias changes by at most the learning rate in a step. Measured in docs/log.md
    (2026-11-22).
    """
    with torch.no_grad():
        bias = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        for head, bucket in zip(range(bias.shape[1]), _NEIGHBOURS, strict=False):
            bias[bucket, head] += _NEIGHBOUR_BIAS
        for block in model.decoder.block:
            attention = block.layer[1].EncDecAttention
            torch.nn.init.eye_(attention.v.weight)
            torch.nn.init.eye_(attention.o.weight)
