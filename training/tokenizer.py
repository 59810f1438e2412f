"""A tokenizer of our own for models trained from scratch: words as pieces, anything spellable.

BPE over words that keep their leading space, so that a name has the same pieces wherever it stands and can be
copied piece by piece; the initial alphabet is all printable ASCII, so that made-up and unseen names have
pieces too. Special tokens as in T5: `<pad>` 0, `</s>` 1, `<unk>` 2; the end token is appended by the
post-processor. The last tokens stand for a prompt's words that are no piece (`waymark.inference.tokens`).
"""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from waymark.errors import InvalidInput
from waymark.inference.tokens import copy_tokens

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
_COPIES = 32
_SPACE = "▁"


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


def extend_tokenizer(tokenizer: Tokenizer, texts: Iterable[str], words: int) -> Tokenizer:
    """A copy with pieces for the `words` most frequent words of texts that have no piece of their own.

    Pieces keep their order, and copy tokens stay last, so all token numbers before the first copy token stay. A word
    becomes a piece by merges of the pieces that spelt it; a long word brings pieces for its beginnings, too. Raises
    InvalidInput for a tokenizer of another kind than `train_tokenizer` makes.
    """
    described = json.loads(tokenizer.to_str())
    model, added = described["model"], described["added_tokens"]
    copies = [token for token in added if token["content"] in copy_tokens(_COPIES)]
    if model["type"] != "BPE" or len(copies) != _COPIES:
        raise InvalidInput(
            "The tokenizer of the base cannot get more words: it is not of the kind that Waymark trains from scratch.",
            remedy="Set more_words to 0.",
            field="more_words",
        )
    pieces: dict[str, int] = model["vocab"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]
    for word in _without_piece(pieces, texts, words):
        beginning, *rest = tokenizer.encode(word, add_special_tokens=False).tokens
        for piece in rest:
            if beginning + piece not in pieces:
                pieces[beginning + piece] = len(pieces)
                merges.append((beginning, piece))
            beginning += piece
    model["merges"] = [list(merge) for merge in merges]
    for number, token in enumerate(copies, len(pieces)):
        token["id"] = number
    return Tokenizer.from_str(json.dumps(described))


def _without_piece(pieces: Iterable[str], texts: Iterable[str], count: int) -> list[str]:
    """The most frequent words with a letter that are no piece."""
    known = {piece[1:] for piece in pieces if piece.startswith(_SPACE)}
    frequency = Counter(word for text in texts for word in text.lower().split())
    unknown = [word for word, _ in frequency.most_common() if word not in known and any(map(str.isalpha, word))]
    return unknown[:count]
