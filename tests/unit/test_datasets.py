"""Datasets: which decisions they hold, that nothing leaks, what is written and counted, and consistent renaming."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import load_dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from tests.oracle import one_of_each_task, rule_annotations, trajectories
from training.batches import IGNORED, Tensors
from training.datasets import Example, check_splits, decisions, examples, write_dataset
from training.recipe import Recipe
from training.statistics import Lengths, describe_split, duplicates
from training.tokenizer import train_tokenizer
from training.trajectories import Wanted, read_parts, rows_of
from training.worlds.scienceworld.augmentation import Renamer
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


def test_renaming_changes_a_name_everywhere_and_nothing_else() -> None:
    example = Example("1-1", 0, "melt tin | room hall : tin , tin cup | have tin", "focus_on tin cup", "melt tin")
    names = set()
    for seed in range(40):
        prompt, target = Renamer([example], share=1.0, seed=seed)(example)
        same = re.fullmatch(r"melt (.+) \| room hall : \1 , \1 cup \| have \1", prompt)
        assert same
        assert target == f"focus_on {same[1]} cup"
        names.add(same[1])
    assert len(names) > 20
    assert any(" " in name for name in names)


def test_a_thing_is_renamed_where_its_kind_suffices() -> None:
    prompt = "find animal | room outside : baby dove , axe | have orange"
    asked = Example("4-4", 0, prompt, "focus_on baby dove", "find animal")
    renamed, target = Renamer([asked], share=1.0, seed=0)(asked)
    assert "dove" not in target
    assert target.removeprefix("focus_on ") in renamed
    known = replace(asked, task_id="8-1")
    assert Renamer([known], share=1.0, seed=0)(known)[1] == known.target


@pytest.mark.parametrize(
    ("task", "prompt", "target", "word"),
    [
        ("6-1", "mix | read recipe : you need salt | room hall : salt , pot", "move salt , metal pot", "salt"),
    ],
)
def test_visible_things_are_renamed_where_the_answer_allows(task: str, prompt: str, target: str, word: str) -> None:
    instruction = prompt.partition(" | ")[0]
    asked = Example(task, 0, prompt, target, instruction)
    renamed, answer = Renamer([asked], share=1.0, seed=0)(asked)
    assert word not in f"{renamed} {answer}".split()
    assert set(answer.split()) - set(target.split()) <= set(renamed.split())


def test_named_things_are_renamed_where_the_answer_omits_them() -> None:
    named = Example("6-1", 0, "make dough | room hall : dough", "focus_on dough", "make dough")
    other = Example("6-1", 0, "make dough | room hall : recipe", "read recipe", "make dough")
    prompt, target = Renamer([named, other], share=1.0, seed=0)(other)
    assert re.fullmatch(r"make (?!dough)\S+( \S+)? \| room hall : recipe", prompt)
    assert target == "read recipe"


def test_wires_of_a_circuit_change_their_colours() -> None:
    instruction = "build_circuit(battery, lamp)"
    prompt = "build_circuit battery , lamp | room hall : battery , red wire , lamp"
    wired = Example("3-3", 0, prompt, "connect battery anode to red wire terminal 1", instruction)
    renamed, target = Renamer([wired], share=1.0, seed=0)(wired)
    colour = re.search(r" : \S+(?: \S+)? , (\S+(?: \S+)?) wire", renamed)[1]  # type: ignore[index]
    assert colour != "red"
    assert target.endswith(f" anode to {colour} wire terminal 1")


def test_of_a_circuit_only_wires_and_lamps_are_called_otherwise() -> None:
    asked = "power lamp by renewable source"
    shown = "room hall : red wire , green light bulb , solar panel"
    carried = Example("3-2", 0, f"{asked} | {shown}", "pick_up red wire", asked)
    source = Example("3-2", 0, f"{asked} | {shown}", "pick_up solar panel", asked)
    renamer = Renamer([carried, source], share=1.0, seed=0)
    assert renamer(source)[1] == "pick_up solar panel"
    assert not renamer(carried)[1].startswith("pick_up red")


def test_no_new_name_tells_which_box_is_the_answer() -> None:
    asked = "determine if tin is conductive if it is , place it in red box if it is not , place it in green box"
    prompt = f"{asked} | here green box , red box , tin | room hall : green wire , blue wire"
    example = Example("3-3", 0, prompt, "move tin , red box", asked)
    called: tuple[set[str], set[str]] = (set(), set())
    for share in (0.0, 1.0):
        renamer = Renamer([example], share=share, seed=0)
        for _ in range(100):
            renamed, target = renamer(example)
            right, wrong = re.findall(r"place it in (.+?) box", renamed)
            assert right != wrong
            assert target.endswith(f" , {right} box")
            assert f" {wrong} box , {right} box , " in renamed
            called[0].add(right)
            called[1].add(wrong)
    assert all({"red", "green", "white"} < names and len(names) > 20 for names in called)


def test_powered_devices_are_renamed_too() -> None:
    asked = "power green light bulb"
    lit = Example("3-1", 0, f"{asked} | room hall : green light bulb , red wire", "focus_on green light bulb", asked)
    powered = set()
    for seed in range(60):
        prompt, target = Renamer([lit], share=1.0, seed=seed)(lit)
        powered.add(target.removeprefix("focus_on "))
        assert prompt.count(target.removeprefix("focus_on ")) == 2
    assert {"electric motor", "electric buzzer"} < powered
    assert sum(name.endswith(" light bulb") for name in powered) > 10


def places_of_what_is_named(task: str) -> set[str]:
    here = "here tin , lead in pot , red box , jar"
    example = Example(task, 0, f"melt tin | {here} | room hall : tin | have jar", "focus_on tin", "melt tin")
    places = set()
    for seed in range(200):
        prompt, _ = Renamer([example], share=1.0, seed=seed)(example)
        match = re.search(r"here (.+) , lead in pot , red box , jar \| room", prompt)
        assert match
        places.add(match[1].partition(" in ")[2])
    return places


def test_named_things_are_sometimes_placed_on_others() -> None:
    anything, substance = places_of_what_is_named("3-3"), places_of_what_is_named("1-1")
    assert {"", "table"} < substance
    assert anything - substance == {"bowl", "jug", "wood cup", "glass jar"}


def test_awaited_things_are_renamed_too() -> None:
    waited = Example(
        "8-1", 0, "wait_for_change newt egg | room outside : newt egg", "wait1", "wait_for_change(newt egg)"
    )
    prompt, target = Renamer([waited], share=1.0, seed=0)(waited)
    assert target == "wait1"
    assert "newt" not in prompt


def test_any_animal_is_met_at_any_age() -> None:
    scene = "room outside : axe , blue jay egg , dove egg , wood | have"
    asked = Example(
        "4-4", 0, f"find animal | did focus on blue jay egg | {scene}", "pick_up blue jay egg", "find animal"
    )
    ages = set()
    for seed in range(40):
        prompt, target = Renamer([asked], share=1.0, seed=seed)(asked)
        taken = target.removeprefix("pick_up ")
        assert f"did focus on {taken} | room outside : axe , {taken} , " in prompt
        ages.add(next((age for age in ("egg", "baby", "juvenile") if age in taken.split()), "any"))
    assert ages == {"egg", "baby", "juvenile", "any"}


def test_paints_change_places_so_that_they_still_mix() -> None:
    first = Example("6-3", 0, "make green - blue | room hall : cup", "pour blue , yellow", "make green - blue")
    made = {Renamer([], share=0.0, seed=seed)(first) for seed in range(40)}
    mixtures = {"green": {"blue", "yellow"}, "orange": {"red", "yellow"}, "violet": {"red", "blue"}}
    assert len(made) == 6
    for prompt, target in made:
        mixed, more = re.fullmatch(r"make (\w+) - (\w+) \| room hall : cup", prompt).groups()  # type: ignore[union-attr]
        poured = target.removeprefix("pour ").split(" , ")
        assert (set(poured), poured[0]) == (mixtures[mixed], more)


def test_mixed_paints_are_found_under_any_name() -> None:
    asked = "make yellow - orange"
    second = Example("6-3", 0, f"{asked} | did pour it ; mix it ; focus on orange", "pour yellow , orange", asked)
    targets = set()
    for seed in range(40):
        prompt, target = Renamer([], share=0.0, seed=seed)(second)
        more, mixed = re.fullmatch(r"make (.+) - (.+) \| did pour it ; mix it ; focus on \2", prompt).groups()  # type: ignore[union-attr]
        assert target == f"pour {more} , {mixed}"
        targets.add(target)
    assert len(targets) > 15


def test_flower_pots_are_numbered_anew_and_apart() -> None:
    prompt = "find plant | room hall : flower pot 3 ( tree ) , self watering flower pot 1 , cup 3"
    example = Example("4-3", 0, prompt, "pick_up flower pot 3", "find plant")
    numbers = set()
    for seed in range(30):
        renamed, target = Renamer([example], share=1.0, seed=seed)(example)
        tree, other = re.findall(r"flower pot (\d)", renamed)
        assert (target, tree != other) == (f"pick_up flower pot {tree}", True)
        assert renamed.endswith("cup 3")
        numbers.add(tree)
    assert len(numbers) > 5


def test_bystanders_are_renamed_now_and_then() -> None:
    corpus = [Example("1-1", 0, f"melt tin | room hall : {thing}", "end", "melt tin") for thing in ("axe", *"bcdefgh")]
    renamed = {Renamer(corpus, share=1.0, seed=seed)(corpus[0])[0] for seed in range(100)}
    assert 2 < len(renamed) < 20
    assert all(prompt.startswith("melt tin | room hall : ") for prompt in renamed)


def test_named_things_change_places_with_bystanders() -> None:
    scene = "room hall : soap , tin cup , chair , jar ( table salt )"
    corpus = [Example("1-1", 0, f"melt tin | {scene}", "move tin , cup", "melt tin")]
    corpus += [Example("4-1", 0, thing, "end", "find it") for thing in "abcdefgh"]
    swapped = set()
    for seed in range(300):
        prompt, target = Renamer(corpus, share=1.0, seed=seed)(corpus[0])
        named, soap, cup, chair, salt = re.fullmatch(  # type: ignore[union-attr]
            r"melt (.+) \| room .+ : (.+) , (.+) cup , (.+) , .+ \( (.+) \)", prompt
        ).groups()
        assert (target, cup) == (f"move {named} , cup", named)
        if "tin" in (soap, chair, salt):
            assert named == {soap: "soap", chair: "chair", salt: "table salt"}["tin"]
            swapped.add(named)
    assert swapped == {"soap", "chair", "table salt"}


def test_new_names_sometimes_share_a_word_with_the_scene() -> None:
    example = Example("3-3", 0, "get foil | room hall : orange , glass cup | have box", "pick_up foil", "get foil")
    called = {Renamer([example], share=1.0, seed=seed)(example)[1].removeprefix("pick_up ") for seed in range(500)}
    assert "glass" in called
    assert "orange" not in called
    assert {"glass", "orange"} <= {name.split()[0] for name in called if " " in name}


def test_unknown_substances_sometimes_get_ordinary_names() -> None:
    asked = "monitor_temperature(solid unknown substance b, melt)"
    shown = "monitor_temperature solid unknown substance b , melt | did use thermometer on solid unknown substance b"
    example = Example("2-3", 0, f"{shown} | stove holds liquid unknown substance b", "end", asked)
    forms = set()
    for seed in range(50):
        prompt, _ = Renamer([example], share=1.0, seed=seed)(example)
        match = re.fullmatch(
            r"monitor_temperature (.+) , melt \| did use thermometer on (.+) \| stove holds liquid (.+)", prompt
        )
        assert match
        assert match[1] == match[2]
        assert match[1].removeprefix("solid ") == match[3]
        forms.add(match[1].startswith("solid unknown substance "))
    assert forms == {True, False}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_scores_do_not_tell_where_things_lie(share: float) -> None:
    def drawn(score: int) -> set[int]:
        prompt = f"melt tin | room hall : score 7 , cup | score {score}"
        example = Example("1-1", 0, prompt, "end", "melt tin")
        shown = [Renamer([example], share=share, seed=seed)(example)[0] for seed in range(400)]
        assert all(" : score 7 , cup | score " in prompt for prompt in shown)
        return {int(prompt.rpartition(" ")[2]) for prompt in shown}

    assert drawn(2) == drawn(14) == set(range(15))
    assert drawn(70) == set(range(65, 76))
    assert min(drawn(16)) == 15
    assert max(drawn(98)) == 99


def test_other_readings_stand_in_the_same_order() -> None:
    prompt = "tin | read a : 0 3 0 down ; b : 0 1 5 down ; c : 0 3 0 down | room hall : tin , thermometer 10"
    example = Example("9-1", 0, prompt, "focus_on tin", "tin")
    for seed in range(20):
        renamed, _ = Renamer([example], share=1.0, seed=seed)(example)
        first, second, third = (int(digits.replace(" ", "")) for digits in re.findall(r"(\d \d \d) down", renamed))
        assert first == third > second
        assert renamed.endswith("thermometer 10")


def test_many_readings_stay_within_their_scale() -> None:
    prompt = " ; ".join(f"plane {name} : 0 {number} 0 down" for number, name in enumerate("abcdefghi"))
    example = Example("9-1", 0, prompt, "focus_on tin", "tin")
    for seed in range(20):
        renamed, _ = Renamer([example], share=1.0, seed=seed)(example)
        values = [int(digits.replace(" ", "")) for digits in re.findall(r"(\d \d \d) down", renamed)]
        assert values == sorted(set(values))
        assert values[-1] < 100


def test_renaming_leaves_what_must_be_inferred() -> None:
    example = Example(
        "1-1", 0, "fill metal pot , water | room kitchen : sink", "move metal pot to sink", "fill(metal pot, water)"
    )
    prompt, target = Renamer([example], share=1.0, seed=0)(example)
    assert target.endswith(" to sink")
    assert prompt.endswith("room kitchen : sink")
    assert "metal" not in target.split()


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
