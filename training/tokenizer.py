"""A tokenizer of our own for models trained from scratch: words as pieces, anything spellable.

BPE over words that keep their leading space, so that a name has the same pieces wherever it stands and can be
copied piece by piece; the initial alphabet is all printable ASCII, so that made-up and unseen names have
pieces too. Special tokens as in T5: `<pad>` 0, `</s>` 1, `<unk>` 2; the end token is appended by the
post-processor. The last tokens stand for a prompt's words that are no piece (`waymark.inference.tokens`).
"""

from __future__ import annotations

import string
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from waymark.inference.tokens import copy_tokens

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
_COPIES = 32


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Learn `vocabulary` pieces from texts (prompts and targets)."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - _COPIES,
        special_tokens=[PAD, END, UNKNOWN],
        initial_alphabet=sorted(set(string.printable.strip()) - set(string.ascii_uppercase)),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # It takes the space before it along, as a word's piece does.
    tokenizer.add_tokens([AddedToken(name, lstrip=True, normalized=False) for name in copy_tokens(_COPIES)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return tokenizer
