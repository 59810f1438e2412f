"""Datasets: which decisions they hold, that nothing leaks, and what is written and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import load_dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from tests.oracle import one_of_each_task, rule_annotations, trajectories
from training.dataset_statistics import Lengths, describe_split, duplicates
from training.datasets import Example, check_splits, decisions, examples, write_dataset
from training.model_inputs import IGNORED, Tensors
from training.recipe import Recipe
from training.tokenizer import train_tokenizer
from training.trajectories import Wanted, read_parts, rows_of
from training.worlds.scienceworld.paths import shorten
from waymark.agent.state import actions_only
from waymark.errors import InvalidInput
from waymark.inference.tokens import Tokens
from waymark.worlds.base import COMPLETE
from waymark.worlds.scienceworld.prompts.compact import COMPACT
from waymark.worlds.scienceworld.tasks import Split, find_task


def test_no_test_variation_is_tracked_and_every_path_is_solved() -> None:
    for trajectory in trajectories():
        assert trajectory.split == find_task(trajectory.task_id).split_of(trajectory.variation) != "test"
        assert trajectory.score == 100


def test_the_executor_ends_every_subgoal_but_the_last() -> None:
    trajectory = next(path for path in trajectories() if path.task_id == "4-2")
    named = rule_annotations([trajectory])[trajectory.key]
    answers = [decision.answer for decision in decisions(trajectory, named, "executor")]
    assert [answer for answer in answers if answer] == [step.action for step in trajectory.steps]
    assert answers.count(None) == len(named.segments) - 2
    assert answers[-1] == trajectory.steps[-1].action


def test_the_controller_is_asked_once_for_each_subgoal() -> None:
    trajectory = next(path for path in trajectories() if path.task_id == "1-1")
    named = rule_annotations([trajectory])[trajectory.key]
    asked = list(decisions(trajectory, named, "controller"))
    assert [decision.answer for decision in asked] == [segment.subgoal for segment in named.segments]
    assert asked[-1].answer == COMPLETE
    assert [decision.state.current_subgoal for decision in asked] == [
        None,
        *(decision.answer for decision in asked[:-1]),
    ]


def test_detours_are_history_and_never_an_answer() -> None:
    trajectory = next(path for path in trajectories() if path.take and any(step.detour for step in path.steps))
    named = rule_annotations([trajectory])[trajectory.key]
    acted = [decision for decision in decisions(trajectory, named, "executor") if decision.answer]
    assert [decision.answer for decision in acted] == [step.action for step in trajectory.steps if not step.detour]
    assert len(actions_only(acted[-1].state).turns) == len(trajectory.steps) - 1
    subgoals = [decision.answer for decision in decisions(trajectory, named, "controller")]
    assert len(subgoals) == len(named.segments) - sum(step.detour for step in trajectory.steps)


def test_the_flat_dataset_knows_no_subgoals() -> None:
    for trajectory in one_of_each_task():
        named = rule_annotations([trajectory])[trajectory.key]
        for decision in decisions(trajectory, named, "flat"):
            assert decision.state.current_subgoal is None
            assert decision.answer is not None


def test_the_first_dataset_holds_the_first_decision_of_each_path() -> None:
    chosen = one_of_each_task()
    named = rule_annotations(chosen)
    for trajectory in chosen:
        annotation = named[trajectory.key]
        first = list(decisions(trajectory, annotation, "first"))
        assert first == list(decisions(trajectory, annotation, "controller"))[:1]


@pytest.mark.parametrize(("foreign", "split"), [("test", "train"), ("dev", "train"), ("test", "dev")])
def test_an_example_of_another_split_is_refused(foreign: Split, split: Split) -> None:
    own, other = (Example("1-1", find_task("1-1").split(part)[0], "p", "t", "i") for part in (split, foreign))
    check_splits({split: [own]})
    with pytest.raises(InvalidInput, match=f"Variation {other.variation} of task 1-1 is for {foreign}") as refused:
        check_splits({split: [own, other]})
    assert refused.value.field == "data"


def test_the_every_step_controller_is_asked_before_each_decision() -> None:
    trajectory = next(path for path in trajectories() if path.task_id == "4-2")
    named = rule_annotations([trajectory])[trajectory.key]
    asked = list(decisions(trajectory, named, "controller", "every-step"))
    executor = list(decisions(trajectory, named, "executor"))
    assert len(asked) == len(executor) + 1
    assert asked[-1].answer == COMPLETE
    assert [decision.answer for decision in asked[:-1]] == [decision.state.current_subgoal for decision in executor]
    on_end = list(decisions(trajectory, named, "controller"))
    assert [decision for decision in asked if decision in on_end] == on_end


def test_a_written_dataset_is_loaded_by_the_datasets_library(tmp_path: Path) -> None:
    chosen = one_of_each_task()[:3]
    corpus = examples(chosen, rule_annotations(chosen), "flat", COMPACT)
    write_dataset(tmp_path / "made", {"train": corpus, "dev": corpus[:2]}, {"role": "flat"})
    loaded = load_dataset("parquet", data_dir=str(tmp_path / "made"), cache_dir=str(tmp_path / "cache"))
    assert [Example(**row) for row in loaded["train"]] == corpus
    assert [Example(**row) for row in loaded["validation"]] == corpus[:2]
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text())
    assert manifest["role"] == "flat"
    assert set(manifest["files"]) == {"train.parquet", "dev.parquet"}


def test_statistics_count_the_end_token_and_cut_prompts() -> None:
    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    corpus = [
        Example("1-1", 0, "a b c", "open door", ""),
        Example("1-1", 1, "a b c d e", "open", ""),
        Example("4-2", 0, "a", "END_SG()", ""),
    ]
    statistics = describe_split(corpus, Tokens(words, end=1), max_input_tokens=4, max_new_tokens=2)
    assert (statistics.examples, statistics.variations) == (3, 3)
    assert statistics.prompt == Lengths(median=4, p95=4, longest=6)
    assert (statistics.truncated, statistics.truncated_tokens, statistics.unwritable) == (1, 2, 1)
    assert statistics.verbs == {"open": 2, "END_SG": 1}
    assert statistics.tasks["1-1"].verbs == {"open": 2}
    assert statistics.tasks["4-2"].truncated == 0


def test_statistics_are_those_of_the_models_inputs() -> None:
    chosen = [trajectory for trajectory in trajectories() if trajectory.task_id == "4-2"][:2]
    corpus = examples(chosen, rule_annotations(chosen), "executor", COMPACT)
    tokens = Tokens(train_tokenizer([corpus[0].prompt] * 9, 250), end=1)
    statistics = describe_split(corpus, tokens, max_input_tokens=160, max_new_tokens=40)
    given = Tensors(tokens, Recipe(max_input_tokens=160), pad=0)(
        [(example.prompt, example.target) for example in corpus]
    )
    read, written = (given[name] for name in ("attention_mask", "labels"))
    assert isinstance(read, Tensor)
    assert isinstance(written, Tensor)
    assert 0 < statistics.truncated < len(corpus)
    assert statistics.prompt.longest > read.sum(dim=1).max() == 160
    assert statistics.prompt.median == read.sum(dim=1).median()
    assert statistics.target.longest == (written != IGNORED).sum(dim=1).max()
    assert statistics.copied == sum("<copy_" in "".join(tokens.names(row.clamp(min=0).tolist())) for row in written) > 0


def test_duplicates_between_splits_are_counted_with_and_without_their_answer() -> None:
    train = [Example("1-1", 0, "p", "t", ""), Example("1-1", 1, "p", "t", ""), Example("1-1", 1, "q", "t", "")]
    dev = [Example("1-1", 14, "p", "t", ""), Example("1-2", 14, "q", "other", ""), Example("1-2", 14, "new", "t", "")]
    repeated = duplicates(train, dev)
    assert (repeated.within_train, repeated.dev_prompts_in_train, repeated.dev_examples_in_train) == (1, 2, 1)
    assert repeated.by_task == {"1-1": 1, "1-2": 1}


def test_shortened_paths_teleport_and_watch_briefly() -> None:
    gold = ["look around", "open door to hall", "go to hall", "go to lab", "0", "pour pot into pot"]
    assert shorten([*gold, *["look at inclined plane b"] * 20, "close door to hall"]) == [
        "teleport to lab",
        *["look at inclined plane b"] * 5,
    ]


def test_a_variation_is_read_with_all_takes_or_none(tmp_path: Path) -> None:
    variations = [[{"task_id": "4-2", "variation": number, "take": take} for take in (0, 1)] for number in range(3)]
    written = "".join(json.dumps(rows) + "\n" for rows in variations)
    parts = tmp_path / "parts.jsonl"
    parts.write_text(written[: -len(json.dumps(variations[2][1]))])  # killed while it wrote the last take
    assert list(read_parts(parts)) == variations[0] + variations[1]
    assert list(rows_of([Wanted("4-2", 1, "easy"), Wanted("1-1", 0, "easy")], read_parts(parts))) == variations[1]
