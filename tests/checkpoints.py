"""A checkpoint folder that verifies, of a model too small to answer anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models

from waymark.contracts import Role
from waymark.inference.checkpoint import CARD, CheckpointCard, Training, write_card
from waymark.inference.checkpoint_files import list_files, sha256_of
from waymark.inference.weight_shapes import architecture_of, count_parameters, shapes_of

WORDS = ("<pad>", "</s>", "<unk>", "look", "around")
T5: Mapping[str, Any] = {
    "model_type": "t5",
    "is_encoder_decoder": True,
    "vocab_size": len(WORDS),
    "d_model": 4,
    "d_kv": 2,
    "d_ff": 6,
    "num_heads": 3,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "relative_attention_num_buckets": 8,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": True,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
LLAMA: Mapping[str, Any] = {
    "model_type": "llama",
    "vocab_size": len(WORDS),
    "hidden_size": 4,
    "head_dim": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 5,
    "num_hidden_layers": 2,
    "max_position_embeddings": 544,
    "tie_word_embeddings": False,
    "eos_token_id": 1,
}
TRAINING = Training(
    command="python -m training finetune",
    commit=None,
    data_sha256="0" * 64,
    seed=0,
    steps=1,
    recipe={"lr": 1e-3},
    dev={"exact": 0.5},
)


def write_model(folder: Path, config: Mapping[str, Any], value: float = 1.0) -> int:
    """Write config.json and the weights that it describes, all of one value. How many parameters they have."""
    (folder / "config.json").write_text(json.dumps(config))
    save_file(
        {name: np.full(shape, value, np.float32) for name, shape in shapes_of(config).items()},
        folder / "model.safetensors",
    )
    return count_parameters(folder / "model.safetensors")


def write_tiny_card(folder: Path, **fields: Any) -> None:
    """The card of a tiny executor; `fields` are those that differ."""
    card: dict[str, Any] = {
        "name": "tiny", "role": "executor", "architecture": "seq2seq", "prompt_format": "compact",
        "max_input_tokens": 512, "max_new_tokens": 32, "created": "2025-01-01", "training": TRAINING, "files": {},
    }  # fmt: skip
    write_card(folder, CheckpointCard(**(card | fields)))


def make_folder(folder: Path, role: Role = "executor", config: Mapping[str, Any] = T5, value: float = 1.0) -> Path:
    """Weights, config, tokenizer and a card that says what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    parameters = write_model(folder, config, value)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
    (folder / "ctranslate2").mkdir(exist_ok=True)
    (folder / "ctranslate2" / "model.bin").write_bytes(b"converted")
    write_tiny_card(folder, role=role, architecture=architecture_of(config), parameters=parameters)
    return folder


def fit_hashes(folder: Path) -> None:
    """Let the card list the files as they are."""
    card = json.loads((folder / CARD).read_bytes())
    card["files"] = {name: sha256_of(path) for name, path in list_files(folder).items() if name != CARD}
    (folder / CARD).write_text(json.dumps(card))
