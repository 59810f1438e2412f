"""A checkpoint folder that verifies, of a model too small to answer anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models

from waymark.checkpoint import CheckpointCard, Training, write_card
from waymark.contracts import Role

PARAMETERS = 7
WORDS = ("<pad>", "</s>", "<unk>", "look", "around")
TRAINING = Training(
    command="python -m training finetune",
    commit=None,
    data_sha256="0" * 64,
    seed=0,
    steps=1,
    recipe={"lr": 1e-3},
    dev={"exact": 0.5},
)


def write_weights(folder: Path, value: float = 1.0) -> None:
    """Write model.safetensors with `PARAMETERS` numbers."""
    save_file({"shared.weight": np.full((PARAMETERS,), value, np.float32)}, folder / "model.safetensors")


def make_folder(folder: Path, role: Role = "executor") -> Path:
    """Weights, config, tokenizer and a card that says what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder)
    config = {"model_type": "t5", "is_encoder_decoder": True, "vocab_size": len(WORDS)}
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
    (folder / "ctranslate2").mkdir()
    (folder / "ctranslate2" / "model.bin").write_bytes(b"converted")
    card = CheckpointCard(
        name="tiny",
        role=role,
        architecture="seq2seq",
        prompt_format="compact",
        parameters=PARAMETERS,
        max_input_tokens=512,
        max_new_tokens=32,
        created="2025-01-01",
        training=TRAINING,
        files={},
    )
    write_card(folder, card)
    return folder
