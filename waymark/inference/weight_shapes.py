"""Reads the shapes of a model's weights from their header, and compares them with config.json.

Libraries notice a config that contradicts its weights late, with unclear errors: an engine may initialize missing
layers at random, or ignore layers that the weights have. For T5 and Llama all names and shapes follow from the config;
other models are checked only by their engine.

The file format: eight bytes with the length of a JSON header, the header, the tensors
(huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, Literal

from waymark.errors import CheckpointError
from waymark.inference.checkpoint_files import open_file

Shapes = Mapping[str, tuple[int, ...]]
"""The tensors of a model: name to shape."""
Architecture = Literal["seq2seq", "causal"]

ARCHITECTURES: Mapping[str, Architecture] = {"t5": "seq2seq", "llama": "causal"}
"""The architectures with known shapes, by `model_type`."""
_HEAD = "lm_head.weight"
_LAYERS = {
    "t5": {"num_layers": r"encoder\.block\.(\d+)\.", "num_decoder_layers": r"decoder\.block\.(\d+)\."},
    "llama": {"num_hidden_layers": r"model\.layers\.(\d+)\."},
}
"""What the config calls the number of layers, and where their own number stands in the names of tensors."""
_LONGEST_HEADER = 100_000_000
"""Bytes, as the format's own library has it."""
_LARGEST_NUMBER = 2**53
_MOST_SIDES = 8
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64"), 64),
}
"""Of one number, by the format's name for its type; other types are not checked."""
_MOST_LAYERS = 10_000
_COPIES = frozenset(
    (
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
    )
)
"""Additional tensors in published T5 files: copies of `shared.weight`, and a tensor that no model reads."""
_REMEDY = "Keep the config.json that the weights were saved with."

_Sides = tuple[str, ...]
"""The sides of a tensor, each by the fields of the config whose product it is: `num_heads × d_kv`."""


def read_shapes(weights: Path) -> Shapes:
    """The tensors of a safetensors file. Raises CheckpointError when it is none, or not whole."""
    with open_file(weights) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        try:
            if not 0 < length <= min(size, _LONGEST_HEADER):
                raise ValueError(f"its header would have {length:,} bytes")
            header: dict[str, Any] = json.loads(file.read(length))
            header.pop("__metadata__", None)
            tensors = {name: _tensor(tensor) for name, tensor in header.items()}
            expected_size = 8 + length + max(end for _, end in tensors.values())
        except (OSError, ValueError, AttributeError, LookupError, TypeError, RecursionError) as error:
            raise CheckpointError(
                f"{weights} is no safetensors file.", remedy="Save the model with safetensors, never as a pickle."
            ) from error
    if size != expected_size:
        raise CheckpointError(
            f"{weights} has {size} bytes, but its header says {expected_size}.", remedy="Copy the whole file again."
        )
    return {name: shape for name, (shape, _) in tensors.items()}


def _tensor(described: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    """The shape of a tensor and where its bytes end. Raises ValueError, TypeError, LookupError."""
    shape, (begin, end) = tuple(described["shape"]), described["data_offsets"]
    numbers = (*shape, begin, end)
    if not all(isinstance(number, int) and 0 <= number <= _LARGEST_NUMBER for number in numbers) or begin > end:
        raise ValueError("a size is not a possible number")
    bits = _BITS.get(str(described.get("dtype")))
    if len(shape) > _MOST_SIDES or (bits is not None and prod(shape) * bits != (end - begin) * 8):
        raise ValueError("a tensor's shape does not fit its bytes")
    return shape, end


def count_parameters(weights: Path) -> int:
    """How many numbers a safetensors file holds. Raises as `read_shapes`."""
    return sum(prod(shape) for shape in read_shapes(weights).values())


def shapes_of(config: Mapping[str, Any]) -> Shapes:
    """The tensors of the T5 or Llama that a config.json describes. Raises ValueError for what is no number."""
    return {name: tuple(_size(config, dimension) for dimension in sides) for name, sides in _tensors(config)}


def check_config(config: Mapping[str, Any], weights: Path) -> None:
    """Raise CheckpointError with the field of a config.json that contradicts the weights."""
    known = ARCHITECTURES.get(str(config.get("model_type")))
    if known is None:
        return
    where = weights.parent
    if known != architecture_of(config):
        raise CheckpointError(
            f"The config.json of {where} says is_encoder_decoder {bool(config.get('is_encoder_decoder'))} of a "
            f"{config['model_type']}.",
            remedy=_REMEDY,
        )
    shapes = read_shapes(weights)
    try:
        _check(config, shapes, where)
    except ValueError as error:
        raise CheckpointError(f"The config.json of {where} says {error}.", remedy=_REMEDY) from error


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """The name of the architecture in a config.json."""
    return "seq2seq" if config.get("is_encoder_decoder") else "causal"


def _check(config: Mapping[str, Any], shapes: Shapes, where: Path) -> None:
    def contradicted(field: str, value: object, fact: str) -> CheckpointError:
        return CheckpointError(f"The config.json of {where} says {field} {value}, its weights {fact}.", remedy=_REMEDY)

    for field, pattern in _LAYERS[config["model_type"]].items():
        layers = len({match[1] for name in shapes if (match := re.match(pattern, name))})
        if layers != _size(config, field):
            raise contradicted(field, _size(config, field), f"have {layers}")
    tied, head = config.get("tie_word_embeddings"), _HEAD in shapes
    # transformers writes `true` for a T5 with a head of its own as well, and reads that head.
    if tied is not None and tied == head and not (tied and config["model_type"] == "t5"):
        raise contradicted("tie_word_embeddings", tied, f"{'hold' if head else 'lack'} {_HEAD}")
    expected = dict(_tensors({**config, "tie_word_embeddings": not head}))
    for name, sides in expected.items():
        if name not in shapes:
            raise CheckpointError(
                f"The weights of {where} lack {name}, which its config.json describes.", remedy=_REMEDY
            )
        if len(shapes[name]) != len(sides):
            raise CheckpointError(f"{name} of {where} has the shape {list(shapes[name])}.", remedy=_REMEDY)
        for field, size in zip(sides, shapes[name], strict=True):
            if size != _size(config, field):
                raise contradicted(field, _size(config, field), f"{size} ({name})")
    if surplus := sorted(shapes.keys() - expected.keys() - _COPIES):
        raise CheckpointError(
            f"The weights of {where} hold {surplus[0]}, which its config.json does not describe.", remedy=_REMEDY
        )


def _size(config: Mapping[str, Any], fields: str) -> int:
    """The product of some fields. Raises ValueError for one that is no number."""
    return prod(_number(config, name) for name in fields.split(" × "))


def _number(config: Mapping[str, Any], name: str) -> int:
    """A field, or what transformers takes for one that is left out."""
    value = config.get(name)
    if value is None and name == "num_decoder_layers":
        return _number(config, "num_layers")
    if value is None and name == "num_key_value_heads":
        return _number(config, "num_attention_heads")
    if value is None and name == "head_dim":
        return _number(config, "hidden_size") // max(1, _number(config, "num_attention_heads"))
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_NUMBER:
        raise ValueError(f"{name} {repr(value)[:100]}, which is no number")
    return value


def _tensors(config: Mapping[str, Any]) -> Iterator[tuple[str, _Sides]]:
    return _t5(config) if config["model_type"] == "t5" else _llama(config)


def _t5(config: Mapping[str, Any]) -> Iterator[tuple[str, _Sides]]:
    inner, vocabulary = "num_heads × d_kv", ("vocab_size", "d_model")
    gated = str(config.get("feed_forward_proj", "relu")).startswith("gated")

    def attention(prefix: str) -> Iterator[tuple[str, _Sides]]:
        yield from ((f"{prefix}.{name}.weight", (inner, "d_model")) for name in "qkv")
        yield f"{prefix}.o.weight", ("d_model", inner)

    yield "shared.weight", vocabulary
    for stack, layers in (("encoder", "num_layers"), ("decoder", "num_decoder_layers")):
        attentions = ("SelfAttention", "EncDecAttention") if stack == "decoder" else ("SelfAttention",)
        yield (
            f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            ("relative_attention_num_buckets", "num_heads"),
        )
        yield f"{stack}.final_layer_norm.weight", ("d_model",)
        for block in (f"{stack}.block.{number}.layer" for number in range(_size(config, layers))):
            for number, name in enumerate(attentions):
                yield from attention(f"{block}.{number}.{name}")
            dense = f"{block}.{len(attentions)}.DenseReluDense"
            yield from (
                (f"{dense}.{name}.weight", ("d_ff", "d_model")) for name in (("wi_0", "wi_1") if gated else ("wi",))
            )
            yield f"{dense}.wo.weight", ("d_model", "d_ff")
            yield from ((f"{block}.{number}.layer_norm.weight", ("d_model",)) for number in range(len(attentions) + 1))
    if not config.get("tie_word_embeddings"):
        yield _HEAD, vocabulary


def _llama(config: Mapping[str, Any]) -> Iterator[tuple[str, _Sides]]:
    width, vocabulary = "hidden_size", ("vocab_size", "hidden_size")
    heads, shared = "num_attention_heads × head_dim", "num_key_value_heads × head_dim"
    linear = {
        **{f"self_attn.{name}_proj": (side, width) for name, side in (("q", heads), ("k", shared), ("v", shared))},
        "self_attn.o_proj": (width, heads),
        "mlp.gate_proj": ("intermediate_size", width),
        "mlp.up_proj": ("intermediate_size", width),
        "mlp.down_proj": (width, "intermediate_size"),
    }
    biased = {"self_attn": config.get("attention_bias"), "mlp": config.get("mlp_bias")}
    yield "model.embed_tokens.weight", vocabulary
    yield "model.norm.weight", (width,)
    for layer in (f"model.layers.{number}" for number in range(_size(config, "num_hidden_layers"))):
        for name, sides in linear.items():
            yield f"{layer}.{name}.weight", sides
            if biased[name.partition(".")[0]]:
                yield f"{layer}.{name}.bias", sides[:1]
        yield f"{layer}.input_layernorm.weight", (width,)
        yield f"{layer}.post_attention_layernorm.weight", (width,)
    if not config.get("tie_word_embeddings"):
        yield _HEAD, vocabulary
