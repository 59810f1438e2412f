"""Computes the memory, time and disk of fine-tuning a T5 from its shape; nothing is measured.

Memory: float32 weights, gradients and two moments of AdamW (16 bytes a parameter), a bf16 copy (2), and activations by
Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models" (2022), equation 2. Time: six
floating-point operations a parameter and token that it sees (Kaplan et al. 2020), eight with recomputation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from training.recipe import Recipe

VOCABULARY: Final = 32128
PROMPT_TOKENS: Final = 500
"""Tokens of a published prompt, on average, with flan-t5's tokenizer."""
ANSWER_TOKENS: Final = 12
PUBLISHED_EXAMPLES: Final[Mapping[str, int]] = {
    "controller": 70_352,
    "executor": 68_263,
    "first": 2_089,
    "flat": 54_241,
}
"""Training examples of the published variations' gold paths with rule annotations, by role (2,089 paths)."""
_BYTES_OF_STATE: Final = 18
_BYTES_ON_DISK: Final = 12 + 2 + 2 + 1
"""Bytes on disk for each parameter: the state for resuming, the best weights, the checkpoint, and its CTranslate2 form
in int8."""


@dataclass(frozen=True)
class Shape:
    """The shape of a T5 v1.1; flan-t5 is one."""

    width: int
    feedforward: int
    heads: int
    key: int
    """Dimensions of a head."""
    encoder_layers: int
    decoder_layers: int
    vocabulary: int = VOCABULARY
    is_tied: bool = False
    """Whether input and output share one embedding."""

    @property
    def encoder(self) -> int:
        """Weights of the encoder, without embeddings."""
        return self.encoder_layers * (self._attention + self._feedforward)

    @property
    def decoder(self) -> int:
        """Weights of the decoder, without embeddings."""
        return self.decoder_layers * (2 * self._attention + self._feedforward)

    @property
    def parameters(self) -> int:
        """Number of all weights."""
        return self.encoder + self.decoder + self.vocabulary * self.width * (1 if self.is_tied else 2)

    @property
    def _attention(self) -> int:
        return 4 * self.width * self.heads * self.key

    @property
    def _feedforward(self) -> int:
        return 3 * self.width * self.feedforward

    def gigabytes(self, recipe: Recipe) -> float:
        """Memory of one device, all weights on it, for the recipe's longest prompts."""
        tokens = recipe.batch * recipe.max_input_tokens
        layer = tokens * (34 * self.width + 5 * self.heads * recipe.max_input_tokens)
        layers = 1 if recipe.recompute else self.encoder_layers
        kept = self.encoder_layers * tokens * 2 * self.width if recipe.recompute else 0
        return (_BYTES_OF_STATE * self.parameters + layers * layer + kept) / 1e9

    def hours(self, recipe: Recipe, examples: int, flops: float) -> float:
        """Hours of training on one device that computes so many operations a second."""
        seen = recipe.steps_for(examples) * recipe.batch * recipe.accumulate
        work = 8 if recipe.recompute else 6
        output = self.vocabulary * self.width
        work_of_example = work * (self.encoder * PROMPT_TOKENS + (self.decoder + output) * ANSWER_TOKENS)
        attention = 2 * work * self.encoder_layers * self.heads * self.key * PROMPT_TOKENS**2
        return seen * (work_of_example + attention) / flops / 3600

    def disk_gigabytes(self) -> float:
        """Gigabytes on disk of one role: the run folder and the checkpoint."""
        return _BYTES_ON_DISK * self.parameters / 1e9


FLAN_T5: Final[Mapping[str, Shape]] = {
    "small": Shape(512, 1024, 6, 64, 8, 8),
    "base": Shape(768, 2048, 12, 64, 12, 12),
    "large": Shape(1024, 2816, 16, 64, 24, 24),
    "xl": Shape(2048, 5120, 32, 64, 24, 24),
}


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape that a T5's config.json describes."""
    layers = int(config.get("num_layers", 6))
    return Shape(
        width=int(config["d_model"]),
        feedforward=int(config["d_ff"]),
        heads=int(config["num_heads"]),
        key=int(config["d_kv"]),
        encoder_layers=layers,
        decoder_layers=int(config.get("num_decoder_layers") or layers),
        vocabulary=int(config["vocab_size"]),
        is_tied=bool(config.get("tie_word_embeddings", True)),
    )
