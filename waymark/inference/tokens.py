"""How every engine reads and writes text: one tokenizer file, one end token, one way to cut a long prompt.

A checkpoint's `tokenizer.json` is read by the `tokenizers` library alone, so that all engines, and training,
see the same pieces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer

from waymark.errors import CheckpointError
from waymark.inference import Encoded, Prompt
from waymark.inference.checkpoint_files import LARGEST_TOKENIZER, read_file

_SPACE = "▁"
"""The character for the space before a word in the vocabularies of sentencepiece and of our own tokenizer."""
_SHORT_TEXT = 4_000
"""Characters that are read within a few milliseconds."""
_COPY = re.compile(r"<copy_(\d+)>")
_LONGEST_REASON = 300
_LONGEST_COPY = 500
"""Largest number of characters of a copied word in an answer; a phrase may have as many."""


class Tokens:
    """A checkpoint's tokenizer. T5's convention, for all architectures: a text, then one end token.

    A causal model reads prompt and end token, and goes on with the answer and another end token. Where its tokenizer
    opens texts with a begin token (Llama's does), so does a prompt. Raises CheckpointError when the tokenizer would
    frame a text in any other way.

    A vocabulary may hold copy tokens, `<copy_0>`, `<copy_1>`, … (`copy_tokens`). Words of a prompt that are not in the
    vocabulary are then replaced by these tokens, in order of appearance, and a copy token in an answer stands for the
    prompt's word. So a model copies a name that it has never seen as easily as any other. This is the copyable model of
    Luong et al., "Addressing the Rare Word Problem in Neural Machine Translation" (ACL 2015), section 3.1. Other
    vocabularies read such words as the pieces that spell them.
    """

    def __init__(self, tokenizer: Tokenizer, end: int) -> None:
        # Both settings can be left behind in the file by the program that wrote it.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        plain = tokenizer.encode("look around", add_special_tokens=False).ids
        framed = tokenizer.encode("look around").ids
        if framed[-1:] == [end]:
            framed.pop()
        self._begin = framed[: len(framed) - len(plain)]
        if framed != [*self._begin, *plain] or len(self._begin) > 1:
            raise CheckpointError(
                "The tokenizer adds tokens other than one begin token and one end token.",
                remedy="Use a tokenizer.json whose post-processor is `$A </s>`.",
            )
        self._tokenizer = tokenizer
        self.end = end
        vocabulary = tokenizer.get_vocab()
        self._copies = tuple(name for name in copy_tokens(len(vocabulary)) if name in vocabulary)
        self._words = frozenset(name[1:] for name in vocabulary if name.startswith(_SPACE))

    def prompts(self, prompts: Sequence[Prompt], limit: int) -> list[Encoded]:
        """Each with at most `limit` tokens: begin, the text's first ones, end. What is encoded stays."""
        return [self._prompt(prompt, limit) if isinstance(prompt, str) else prompt for prompt in prompts]

    def _prompt(self, text: str, limit: int) -> Encoded:
        unknown = self._unknown(text) if self._copies else ()
        ids = self._ids(self._numbered(text, unknown))
        kept = ids[: limit - 1 - len(self._begin)]
        framed = [*self._begin, *kept, self.end]
        names = tuple(word[:_LONGEST_COPY] for word in unknown)
        return Encoded(text=text, ids=framed, truncated=len(ids) - len(kept), unknown=names)

    def _ids(self, text: str) -> list[int]:
        """Token numbers. The library holds the interpreter while it reads one text, but not for a list of texts."""
        if len(text) <= _SHORT_TEXT:
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._tokenizer.encode_batch([text], add_special_tokens=False)[0].ids

    def target(self, text: str, prompt: Encoded) -> list[int]:
        """The tokens of an answer to that prompt, without the end token."""
        return self._ids(self._numbered(text, prompt.unknown))

    def pieces(self, text: str, prompt: Encoded) -> list[str]:
        """What each token adds to an answer to that prompt, the end token nothing: joined they are the answer."""
        numbered = self._numbered(text, prompt.unknown)
        ends = [end for _, end in self._tokenizer.encode(numbered, add_special_tokens=False).offsets]
        return [_named(numbered[start:end], prompt.unknown) for start, end in pairwise([0, *ends])] + [""]

    def text(self, ids: Sequence[int], prompt: Encoded) -> str:
        """The tokens of an answer to that prompt as text, special ones left out."""
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        if prompt.unknown:
            text = " ".join(_named(_COPY.sub(r" \g<0> ", text), prompt.unknown).split())
        return text.strip()

    def _unknown(self, text: str) -> tuple[str, ...]:
        """The words that copy tokens replace: those with a letter that are not a single piece of the vocabulary."""
        words = dict.fromkeys(text.split(" "))
        copied = [word for word in words if word.lower() not in self._words and any(map(str.isalpha, word))]
        return tuple(copied[: len(self._copies)])

    def _numbered(self, text: str, unknown: Sequence[str]) -> str:
        """A text with copy tokens in place of a prompt's unknown words."""
        if not unknown:
            return text
        copies = dict(zip(unknown, self._copies, strict=False))
        return " ".join(copies.get(word, word) for word in text.split(" "))

    def names(self, ids: Sequence[int]) -> list[str]:
        """Tokens as the strings that stand in the vocabulary."""
        return [self._tokenizer.id_to_token(number) or unused(number) for number in ids]

    def numbers(self, names: Sequence[str]) -> list[int]:
        """The inverse of `names`, without the rows that have no token."""
        numbers = (self._tokenizer.token_to_id(name) for name in names)
        return [number for number in numbers if number is not None]


def copy_tokens(count: int) -> tuple[str, ...]:
    """The names of the first `count` copy tokens."""
    return tuple(f"<copy_{number}>" for number in range(count))


def _named(text: str, unknown: Sequence[str]) -> str:
    """The inverse of numbering; a copy token with a number that the prompt does not have stays as it is."""

    def name(match: re.Match[str]) -> str:
        number = int(match[1])
        return unknown[number] if number < len(unknown) else match[0]

    return _COPY.sub(name, text)


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`. Raises CheckpointError."""
    content = read_file(path, LARGEST_TOKENIZER)
    try:
        return Tokenizer.from_buffer(content)
    except BaseException as error:  # the library raises bare Exception, and PanicException for some files
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise CheckpointError(
            f"Cannot read the tokenizer {path}: {reason}.", remedy="Restore the file from the checkpoint."
        ) from error


def unused(number: int) -> str:
    """The name of an embedding row past the tokenizer's own tokens (models pad to a round size)."""
    return f"<unused_{number}>"
