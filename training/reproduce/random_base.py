"""Makes a base model with random weights. Without a pretrained T5, all roles start from it.

Its tokenizer has pieces that may span several words (SuperBPE, Liu et al. 2025), because the published prompts repeat
whole phrases: a prompt has 160 to 200 pieces instead of 420. Its weights are random, except for the initialization that
lets a fresh model copy words (`training.model`); a pretrained one can do that already.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from training.datasets import Example
from training.load_examples import Wording
from training.model import fresh_model
from training.recipe import Recipe
from training.reproduce.plan import ROLES
from training.run_state import building, writing
from training.tokenizer import END, PAD, UNKNOWN

_SENTINELS: Final = 100
"""`<extra_id_0>` and so on: T5's own special tokens, ten of which number the turns of a published prompt."""
_SPACE: Final = "▁"
_PHRASE_ENDS: Final = rf"[|.;>]+{_SPACE}*|,{_SPACE}|\("
"""No piece spans these marks."""
_LONGEST_PIECE: Final = 40
"""Largest number of characters of a piece."""
_TEXTS_OF_A_ROLE: Final = 1500


def train_phrase_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Make a vocabulary of so many pieces, including phrases, from texts (prompts and targets). Several spaces become
    one.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(" +"), " "), normalizers.Replace(" ", _SPACE)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PHRASE_ENDS), "merged_with_previous")
    tokenizer.decoder = decoders.Replace(_SPACE, " ")
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END, UNKNOWN, *(f"<extra_id_{number}>" for number in range(_SENTINELS))],
        initial_alphabet=[chr(code) for code in range(33, 127)],
        max_token_length=_LONGEST_PIECE,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return tokenizer


def sample_texts(corpora: Iterable[Sequence[Example]], seed: int = 0) -> list[str]:
    """Prompts and targets for the tokenizer, equally many of each role."""
    draw = random.Random(seed)
    chosen = [
        example for corpus in corpora for example in draw.sample(list(corpus), min(_TEXTS_OF_A_ROLE, len(corpus)))
    ]
    return [text for example in chosen for text in (example.prompt, example.target)]


def wordings(prompt_format: str) -> list[Wording]:
    """The form of each role's examples, as in the prompts of the published loop."""
    return [Wording(role, prompt_format, controller="every-step") for role in ROLES]


def make_base(folder: Path, recipe: Recipe, texts: Iterable[str]) -> tuple[int, int]:
    """Write a base of the recipe's shape (its `base` is ignored) into a folder.

    Returns how many parameters it has, and how many tokens its tokenizer has: few texts make fewer than the recipe's
    `vocabulary`.
    """
    tokenizer = train_phrase_tokenizer(texts, recipe.vocabulary)
    torch.manual_seed(recipe.seed)
    model = fresh_model(replace(recipe, base=""), tokenizer)
    with building(folder) as partial, writing(folder):
        model.save_pretrained(partial)
        (partial / "generation_config.json").unlink(missing_ok=True)
        tokenizer.save(str(partial / "tokenizer.json"))
    return sum(weight.numel() for weight in model.parameters()), tokenizer.get_vocab_size()
