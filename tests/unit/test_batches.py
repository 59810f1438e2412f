"""Batches: decided by seed and number alone, and tensors that hide from the loss what is no answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, processors

from training.batches import Batches
from training.datasets import Decision, Example
from training.model_inputs import IGNORED, Tensors
from training.recipe import Recipe
from training.tokenizer import train_tokenizer
from training.worlds.scienceworld.augmentation import is_answer
from waymark.agent.state import start
from waymark.contracts import AgentState
from waymark.errors import CheckpointError, InvalidInput
from waymark.inference.tokens import Tokens
from waymark.worlds.scienceworld.prompts.compact import COMPACT

RECIPE = Recipe(batch=2, drills=1, rename=0.5, max_input_tokens=20, max_new_tokens=8)


def focused(number: int, name: str, answer: str = "focus on {}") -> Example:
    """An executor's example whose prompt is as long as its number says."""
    things = "".join(f"\tthing {letter}\n" for letter in "bcdefgh"[:number])
    state = AgentState(
        task="Your task is to focus.",
        look=f"This room is called the kitchen. In it, you see: \n{things}",
        inventory=f"In your inventory, you see:\n\ta {name}\n",
        current_subgoal=f"focus_on({name})",
    )
    return Example.of("4-2", number, Decision(state, answer.format(name)), "executor", COMPACT)


EXAMPLES = [
    focused(number, name) for number, name in enumerate("apple banana cherry orange lead tin mercury gallium".split())
]
PAIRS = [(example.prompt, example.target) for example in EXAMPLES]


@pytest.fixture
def tokenizer() -> Tokenizer:
    return train_tokenizer((text for pair in PAIRS for text in pair), 200)


def test_a_batch_is_decided_by_seed_and_number_alone() -> None:
    batches = Batches(EXAMPLES, RECIPE)
    wanted = [batches[number] for number in range(200)]
    assert [Batches(EXAMPLES, RECIPE)[number] for number in (170, 3, 64)] == [wanted[170], wanted[3], wanted[64]]
    assert wanted[:64] != wanted[64:128]
    assert Batches(EXAMPLES, replace(RECIPE, seed=1))[0] != wanted[0]


def test_each_batch_of_examples_follows_its_drills() -> None:
    batches = Batches(EXAMPLES, RECIPE)
    for number in range(64):
        assert all((" | " in prompt) == bool(number % 2) for prompt, _ in batches[number])


EASY, HARD, OTHER = (
    Example(task, 0, prompt, "end", "") for task, prompt in (("1-1", "easy"), ("1-1", "hard"), ("4-2", "other"))
)


def drawn(losses: list[float] | None, hard: float) -> Counter[str]:
    """How often each prompt is drawn in 64 batches of 50."""
    batches = Batches([EASY, HARD, OTHER], Recipe(batch=50, rename=0.0, temperature=1.0, hard=hard), losses)
    return Counter(prompt for number in range(64) for prompt, _ in batches[number])


def test_without_losses_all_examples_are_drawn_alike() -> None:
    assert all(900 < count < 1_250 for count in drawn(None, 0.0).values())


@pytest.mark.parametrize(("hard", "times"), [(0.5, 3.3), (1.0, 11.0)])
def test_hard_examples_are_drawn_more_often_and_none_is_forgotten(hard: float, times: float) -> None:
    counts = drawn([0.0, 1.0, 0.0], hard)
    assert counts["hard"] / counts["easy"] == pytest.approx(times, rel=0.25)
    assert counts["other"] > 50


def test_without_renaming_examples_stay_as_they_are() -> None:
    """Also boxes, paints and scores, which renaming changes in every example."""
    boxed = Example(
        "9-1", 0, "focus on red box or blue box | score 3", "focus on red box", "focus on red box or blue box"
    )
    for example in (boxed, *EXAMPLES):
        batches = Batches([example], replace(RECIPE, rename=0.0, drills=0))
        assert set(batches[0]) == set(batches.once()) == {(example.prompt, example.target)}


def test_drills_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(InvalidInput, match="copying drill"):
        Batches([focused(0, "apple", "wait")], RECIPE)


def test_the_loss_of_an_encoder_decoder_is_over_the_answer(tokenizer: Tokenizer) -> None:
    tokens = Tokens(tokenizer, 1)
    inputs = Tensors(tokens, RECIPE, pad=0)(PAIRS)
    ids, mask, labels = (torch.as_tensor(inputs[name]) for name in ("input_ids", "attention_mask", "labels"))
    for row, (prompt, target) in enumerate(PAIRS):
        (read,) = tokens.prompts([prompt], 20)
        assert ids[row][mask[row] == 1].tolist() == read.ids
        assert labels[row][labels[row] != IGNORED].tolist() == [*tokens.target(target, read), 1]


def test_the_loss_of_a_causal_model_is_over_the_answer(tokenizer: Tokenizer) -> None:
    tokens = Tokens(tokenizer, 1)
    inputs = Tensors(tokens, replace(RECIPE, architecture="causal"), pad=1)(PAIRS)
    ids, mask, places, labels = (
        torch.as_tensor(inputs[name]) for name in ("input_ids", "attention_mask", "position_ids", "labels")
    )
    assert inputs["logits_to_keep"] == labels.shape[1]
    for row, (prompt, target) in enumerate(PAIRS):
        (read,) = tokens.prompts([prompt], 20)
        answer = [*tokens.target(target, read), 1]
        whole = read.ids + answer
        assert ids[row][mask[row] == 1].tolist() == ids[row][-len(whole) :].tolist() == whole
        assert places[row][-len(whole) :].tolist() == list(range(len(whole)))
        assert labels[row].tolist() == [IGNORED] * (labels.shape[1] - len(answer)) + answer
        assert labels[row][0] == IGNORED  # the first kept place has no predecessor to predict it


def test_a_prompt_begins_as_its_tokenizer_begins_texts(tokenizer: Tokenizer) -> None:
    tokenizer.add_special_tokens(["<s>"])
    begin = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    tokens = Tokens(tokenizer, 1)
    whole, cut = (*tokens.prompts(["focus on apple"], 20), *tokens.prompts(["focus on apple " * 20], 10))
    assert whole.ids == [begin, *tokens.target("focus on apple", whole), 1]
    assert (len(cut.ids), cut.ids[0], cut.ids[-1]) == (10, begin, 1)
    assert cut.truncated == len(tokens.target("focus on apple " * 20, cut)) - 8
    assert tokens.target("focus on apple", whole)[0] != begin
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> <s> $A", special_tokens=[("<s>", begin)])
    with pytest.raises(CheckpointError, match="one begin token"):
        Tokens(tokenizer, 1)


def test_final_answers_are_drawn_as_often_as_the_recipe_says() -> None:
    asked = "if it is hot, place it in red box, if it is cold, place it in blue box"
    answer, other = (Example("2-1", 0, "p", target, asked) for target in ("move tin , red box", "pick_up tin"))
    planes = Example("9-1", 0, "p", "focus_on inclined plane a", "which of two inclined planes (a, b)")
    boxed = Example("4-2", 0, "p", "move tin , red box", "move it to red box")
    assert [is_answer(example) for example in (answer, other, planes, boxed)] == [True, False, True, False]
    batches = Batches([answer, other], Recipe(batch=50, rename=0.0, answers=9.0))
    drawn = Counter(target.split()[0] for number in range(32) for _, target in batches[number])
    assert 6 < drawn["move"] / drawn["pick_up"] < 13


def test_corrections_are_drawn_as_often_as_the_recipe_says() -> None:
    state = start("Boil water.", "This room is called the kitchen.", "nothing")
    correction, other = (
        Example.of("1-1", 0, Decision(state, answer, is_correction=answer == "go north"), "flat", COMPACT)
        for answer in ("go north", "go south")
    )
    batches = Batches([correction, other], Recipe(batch=50, rename=0.0, corrections=9.0))
    drawn = Counter(target for number in range(32) for _, target in batches[number])
    assert 6 < drawn["go north"] / drawn["go south"] < 13
