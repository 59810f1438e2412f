"""T5 models on CTranslate2: the default engine on CPUs, and the only import of that library.

Reads a checkpoint's `tokenizer.json` and its `ctranslate2/` folder; torch is not needed and not imported.
`convert_to_ctranslate2` makes that folder and does need the `torch` extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from waymark.errors import CheckpointError


@dataclass(frozen=True)
class _Vocabulary:
    """What CTranslate2's converter asks of a tokenizer, with one distinct token for every row of the embedding."""

    tokens: tuple[str, ...]
    pad_token: str
    eos_token: str
    unk_token: str

    def get_vocab(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def convert_ids_to_tokens(self, number: int) -> str:
        return self.tokens[number]


def convert_to_ctranslate2(folder: Path, output: Path, quantization: str = "int8") -> None:
    """Convert a T5 checkpoint folder (config.json, model.safetensors, tokenizer.json) into `output`.

    `quantization` is CTranslate2's name of the stored type, e.g. `int8` or `float32`. `output` is created
    and may exist empty. Raises CheckpointError when the model is no T5 or its tokenizer does not fit it.
    """
    from ctranslate2.converters.transformers import T5Loader  # type: ignore[import-untyped]
    from transformers import T5Config, T5ForConditionalGeneration

    config: Any = T5Config.from_pretrained(folder, local_files_only=True)
    if config.model_type != "t5":
        raise CheckpointError(
            f"{folder} holds a {config.model_type} model; CTranslate2 serves T5 here.",
            remedy="Serve it with the transformers engine.",
        )
    model: Any = T5ForConditionalGeneration.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype="float32"
    )
    model.requires_grad_(False)
    # The converter scales the logits of tied models, but transformers 5 calls every T5 tied and keeps the
    # truth in `scale_decoder_outputs`: without this line scores are wrong while greedy text stays right.
    model.config.tie_word_embeddings = model.config.scale_decoder_outputs
    spec = T5Loader()(model, _vocabulary(folder, model.config))
    spec.validate()
    spec.optimize(quantization=quantization)
    output.mkdir(parents=True, exist_ok=True)
    spec.save(str(output))


def _vocabulary(folder: Path, config: Any) -> _Vocabulary:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if tokenizer.get_vocab_size() > config.vocab_size:
        raise CheckpointError(
            f"The tokenizer of {folder} has {tokenizer.get_vocab_size()} tokens, its model {config.vocab_size}.",
            remedy="Keep the tokenizer that the model was trained with.",
        )
    # Models pad their vocabulary to a round size; the rows past the tokenizer's own get names of ours.
    tokens = tuple(tokenizer.id_to_token(number) or f"<unused_{number}>" for number in range(config.vocab_size))
    pad = tokens[config.pad_token_id]
    return _Vocabulary(
        tokens=tokens,
        pad_token=pad,
        eos_token=tokens[config.eos_token_id],
        unk_token="<unk>" if "<unk>" in tokens else pad,
    )
