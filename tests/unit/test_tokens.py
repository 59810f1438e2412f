"""How text becomes tokens and comes back: known words, words that only the prompt knows, and words that nobody does."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models

from training.tokenizer import extend_tokenizer, train_tokenizer
from waymark.errors import InvalidInput
from waymark.inference.tokens import Tokens, copy_tokens

PROMPT = "move grapefruit , box | you see : Paper clip , x-y , a box"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["move box , cup | you see : paper , a box"] * 9, 200)


@pytest.fixture
def tokens(tokenizer: Tokenizer) -> Tokens:
    return Tokens(tokenizer, 1)


def test_words_that_the_vocabulary_lacks_become_numbers_of_the_prompt(tokens: Tokens) -> None:
    (read,) = tokens.prompts([PROMPT], 50)
    assert read.unknown == ("grapefruit", "clip", "x-y")
    assert tokens.names(tokens.target("move x-y , grapefruit", read)) == ["▁move", "<copy_2>", "▁,", "<copy_0>"]


@pytest.mark.parametrize("answer", ["move clip , grapefruit box", "x-y", "move box", "move zebra , clip"])
def test_an_answer_is_unchanged_by_tokenising_and_decoding(tokens: Tokens, answer: str) -> None:
    (read,) = tokens.prompts([PROMPT], 50)
    assert tokens.text(tokens.target(answer, read), read) == answer
    assert "".join(tokens.pieces(answer, read)) == answer
    assert len(tokens.pieces(answer, read)) == len(tokens.target(answer, read)) + 1


def test_the_same_answer_means_another_word_after_another_prompt(tokens: Tokens) -> None:
    first, second = tokens.prompts(["move grapefruit", "move chalk"], 50)
    assert first.ids == second.ids
    assert tokens.text(tokens.target("move grapefruit", first), second) == "move chalk"


def test_a_number_that_the_prompt_does_not_have_names_nothing(tokens: Tokens) -> None:
    (read,) = tokens.prompts(["move grapefruit"], 50)
    assert tokens.text(tokens.numbers(["▁move", "<copy_7>"]), read) == "move <copy_7>"


def test_words_beyond_the_copy_tokens_are_spelled(tokens: Tokens) -> None:
    names = [f"q{'z' * length}" for length in range(40)]
    (read,) = tokens.prompts([" ".join(names)], 2_000)
    assert read.unknown == tuple(names[: len(copy_tokens(32))])
    assert tokens.text(tokens.target(names[-1], read), read) == names[-1]


def test_a_vocabulary_without_copy_tokens_spells_every_word(tokenizer: Tokenizer) -> None:
    plain = Tokenizer.from_str(tokenizer.to_str().replace("<copy_", "<other_"))
    (read,) = Tokens(plain, 1).prompts([PROMPT], 50)
    assert read.unknown == ()
    assert "<other_0>" not in Tokens(plain, 1).names(read.ids)


def test_more_words_leave_the_other_pieces_as_they_were(tokenizer: Tokenizer) -> None:
    more = extend_tokenizer(tokenizer, [PROMPT, "a grapefruit , 2 2 2"], 2)
    before, after = tokenizer.get_vocab(), more.get_vocab()
    assert {"▁grapefruit", "▁clip"} <= after.keys() - before.keys()
    copies = copy_tokens(32)
    assert {name: number for name, number in after.items() if name in before and name not in copies} == {
        name: number for name, number in before.items() if name not in copies
    }
    assert [after[name] for name in copies] == list(range(len(after) - 32, len(after)))
    (read,) = Tokens(more, 1).prompts([PROMPT], 50)
    assert read.unknown == ("x-y",)
    assert Tokens(more, 1).text(read.ids, read) == PROMPT.lower()
    assert more.encode("move box , cup").tokens == tokenizer.encode("move box , cup").tokens


def test_more_words_need_a_tokenizer_of_ours() -> None:
    with pytest.raises(InvalidInput, match="more_words"):
        extend_tokenizer(Tokenizer(models.BPE()), [PROMPT], 2)
