"""How every engine reads and writes text: one tokenizer file, one end token, one way to cut a long prompt.

A checkpoint's `tokenizer.json` is read by the `tokenizers` library alone, so that all engines, and training,
see the same pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer

from waymark.errors import CheckpointError
from waymark.generation import Encoded, Prompt


class Tokens:
    """A checkpoint's tokenizer. T5's convention, for all architectures: a text, then one end token.

    A causal model reads prompt and end token, and goes on with the answer and another end token. Where its tokenizer
    opens texts with a begin token (Llama's does), so does a prompt. Raises CheckpointError when the tokenizer would
    frame a text in any other way.
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

    def prompts(self, prompts: Sequence[Prompt], limit: int) -> list[Encoded]:
        """Each with at most `limit` tokens: begin, the text's first ones, end. What is encoded stays."""
        return [self._prompt(prompt, limit) if isinstance(prompt, str) else prompt for prompt in prompts]

    def _prompt(self, text: str, limit: int) -> Encoded:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        kept = ids[: limit - 1 - len(self._begin)]
        return Encoded(text=text, ids=[*self._begin, *kept, self.end], truncated=len(ids) - len(kept))

    def target(self, text: str) -> list[int]:
        """An answer's tokens, without the end token."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def pieces(self, text: str) -> list[str]:
        """What each token adds to an answer, the end token nothing: joined they are the answer."""
        ends = [end for _, end in self._tokenizer.encode(text, add_special_tokens=False).offsets]
        return [text[start:end] for start, end in pairwise([0, *ends])] + [""]

    def text(self, ids: Sequence[int]) -> str:
        """An answer's tokens as text, special ones left out."""
        return self._tokenizer.decode(ids, skip_special_tokens=True).strip()

    def names(self, ids: Sequence[int]) -> list[str]:
        """Tokens as the strings that stand in the vocabulary."""
        return [self._tokenizer.id_to_token(number) or unused(number) for number in ids]

    def numbers(self, names: Sequence[str]) -> list[int]:
        """The inverse of `names`, without the rows that have no token."""
        found = (self._tokenizer.token_to_id(name) for name in names)
        return [number for number in found if number is not None]


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`. Raises CheckpointError."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(
            f"Cannot read the tokenizer {path}: {error}.", remedy="Restore the file from the checkpoint."
        ) from error


def unused(number: int) -> str:
    """The name of an embedding row past the tokenizer's own tokens (models pad to a round size)."""
    return f"<unused_{number}>"
