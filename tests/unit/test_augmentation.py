"""Data augmentation of ScienceWorld: decisions whose names, numbers and places change throughout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

import pytest

from tests.oracle import one_of_each_task, rule_annotations
from training.datasets import Decision, Example, examples
from training.worlds.scienceworld.augmentation import Renamer
from training.worlds.scienceworld.augmentation.rewrites import moved
from waymark.contracts import AgentState, Role, Turn
from waymark.worlds.registry import get_format
from waymark.worlds.scienceworld.prompts.compact import COMPACT


def decided(
    task_id: str,
    asked: str,
    answer: str | None,
    here: Sequence[str] = (),
    *,
    role: Role = "executor",
    turns: Sequence[tuple[str, str]] = (),
    score: int = 0,
) -> Example:
    """A decision in a hall with an orange in hand. `asked` is an executor's sub-goal, else the task."""
    state = AgentState(
        task="Your task is to do it." if role == "executor" else asked,
        look="This room is called the hall. In it, you see: \n" + "".join(f"\t{thing}\n" for thing in here),
        inventory="In your inventory, you see:\n\tan orange\n",
        score=score,
        step=1 + len(turns),
        turns=tuple(Turn(action=action, observation=observation) for action, observation in turns),
        visited_rooms=("hall",),
        current_subgoal=asked if role == "executor" else None,
    )
    return Example.of(task_id, 0, Decision(state, answer), role, COMPACT)


def drawn(
    example: Example, seed: int = 0, *, share: float = 1.0, corpus: Sequence[Example] | None = None
) -> tuple[str, str]:
    """Prompt and target of the example as it is drawn with a seed."""
    assert example.source
    return example.source.written(Renamer(corpus or [example], share=share, seed=seed)(example))


def test_renaming_changes_a_name_everywhere_and_nothing_else() -> None:
    example = decided("1-1", "melt(tin)", "focus on tin cup", ["tin", "tin cup", "a tin"])
    names = set()
    for seed in range(40):
        prompt, target = drawn(example, seed)
        same = re.fullmatch(r"melt (.+) \| room hall : \1 , \1 cup , \1 \| have orange", prompt)
        assert same
        assert target == f"focus on {same[1]} cup"
        names.add(same[1])
    assert len(names) > 20
    assert any(" " in name for name in names)


def test_the_task_and_all_turns_change_with_the_scene() -> None:
    example = decided("1-1", "melt(tin)", "focus on tin", ["tin"], turns=[("look at tin", "a substance called tin")])
    decision = Renamer([example], share=1.0, seed=0)(example)
    name = re.fullmatch(r"melt\((.+)\)", decision.state.current_subgoal or "")[1]  # type: ignore[index]
    assert name != "tin"
    assert decision.answer == f"focus on {name}"
    assert decision.state.turns == (Turn(action=f"look at {name}", observation=f"a substance called {name}"),)
    assert decision.state.look.endswith(f"\t{name}\n")


def test_a_thing_is_renamed_where_its_kind_suffices() -> None:
    for task, anything in (("4-4", True), ("8-1", False)):
        asked = decided(task, "find animal", "focus on baby dove", ["baby dove", "axe"], role="flat")
        prompt, target = drawn(asked)
        assert ("dove" not in target) == anything
        assert target.removeprefix("focus on ") in prompt


def test_visible_things_are_renamed_where_the_answer_allows() -> None:
    read = [("read recipe", "the recipe says: to make brine, you need to mix salt, water")]
    asked = decided(
        "6-1", "make brine", "move(salt, metal pot)", ["salt", "a metal pot"], role="controller", turns=read
    )
    prompt, target = drawn(asked)
    assert "salt" not in f"{prompt} {target}".split()
    assert set(target.split()) - {"move", ","} <= set(prompt.split())


def test_named_things_are_renamed_where_the_answer_omits_them() -> None:
    named = decided("6-1", "make dough", "focus_on(dough)", ["dough"], role="controller")
    other = decided("6-1", "make dough", "read(recipe)", ["recipe"], role="controller")
    prompt, target = drawn(other, corpus=[named, other])
    assert re.match(r"make (?!dough)\S+( \S+)? \| seen hall \| here nothing \| room hall : recipe \|", prompt)
    assert target == "read recipe"


def test_wires_of_a_circuit_change_their_colours() -> None:
    answer = "connect battery anode to red wire terminal 1"
    prompt, target = drawn(decided("3-3", "build_circuit(battery, lamp)", answer, ["battery", "red wire", "lamp"]))
    colour = re.search(r" battery , (\S+(?: \S+)?) wire", prompt)[1]  # type: ignore[index]
    assert colour != "red"
    assert target == f"connect battery anode to {colour} wire terminal 1"


def test_of_a_circuit_only_wires_and_lamps_are_called_otherwise() -> None:
    here = ["red wire", "green light bulb", "solar panel"]
    carried, source = (
        decided("3-2", "power lamp by renewable source", f"pick up {thing}", here, role="flat")
        for thing in ("red wire", "solar panel")
    )
    renamer = Renamer([carried, source], share=1.0, seed=0)
    assert {renamer(source).answer for _ in range(20)} == {"pick up solar panel"}
    assert len({renamer(carried).answer for _ in range(20)}) > 5


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_new_name_tells_which_box_is_the_answer(share: float) -> None:
    asked = (
        "determine if tin is conductive. If it is, place it in the red box. If it is not, place it in the green box."
    )
    here = ["a green box", "a red box", "tin", "a green wire", "a blue wire"]
    example = decided("3-3", asked, "move(tin, red box)", here, role="controller")
    renamer = Renamer([example], share=share, seed=0)
    called: tuple[set[str], set[str]] = (set(), set())
    for _ in range(100):
        prompt, target = renamer(example).written("controller", COMPACT)
        right, wrong = re.findall(r"place it in (.+?) box", prompt)
        assert right != wrong
        assert target.endswith(f" , {right} box")
        assert f" {wrong} box , {right} box , " in prompt
        called[0].add(right)
        called[1].add(wrong)
    assert all({"red", "green", "white"} < names and len(names) > 15 for names in called)


def test_powered_devices_are_renamed_too() -> None:
    here = ["a green light bulb, which is off", "a red wire"]
    lit = decided("3-1", "power green light bulb", "focus on green light bulb", here, role="flat")
    powered = set()
    for seed in range(60):
        prompt, target = drawn(lit, seed)
        powered.add(target.removeprefix("focus on "))
        assert prompt.count(target.removeprefix("focus on ")) == 3  # asked, here, in the room
    assert {"electric motor", "electric buzzer"} < powered
    assert sum(name.endswith(" light bulb") for name in powered) > 10
    unknown = {name for name in powered if name.endswith((" motor", " buzzer")) and not name.startswith("electric ")}
    assert unknown


def places_of_what_is_named(task: str) -> set[str]:
    """Where a model reads that tin lies, and the room's first thing that holds it."""
    example = decided(
        task, "melt tin", "focus on tin", ["tin", "a chair. On the chair is: nothing.", "jar"], role="flat"
    )
    places = set()
    for seed in range(200):
        look = Renamer([example], share=1.0, seed=seed)(example).state.look
        match = re.search(r"a ([a-z ]+)(?: \(containing |\. On the \1 is: )(?!nothing)", look)
        places.add(match[1] if match else "")
    return places


def test_named_things_are_sometimes_placed_on_others() -> None:
    anything, substance = places_of_what_is_named("3-3"), places_of_what_is_named("1-1")
    assert {"", "table", "chair", "shelf", "large cupboard"} < substance
    assert anything - substance == {"bowl", "jug", "wood cup", "glass jar"}


def test_a_moved_thing_keeps_its_condition() -> None:
    look = "In it, you see: \n\ta table. On the table is: a jug.\n\ta red bulb, which is off\n\tink\n"
    assert moved(look, {"red bulb": "bowl"}).split("\n")[2] == "\ta bowl (containing a red bulb, which is off)"
    assert moved(look, {"red bulb": "table"}).split("\n")[1:] == [
        "\ta table. On the table is: a red bulb, which is off, a jug.",
        "\tink",
        "",
    ]
    assert moved(look, {"ink": "shelf"}).split("\n")[3] == "\ta shelf. On the shelf is: ink."
    assert moved(look, {"jug": "shelf", "pen": "shelf"}) == look


def test_awaited_things_are_renamed_too() -> None:
    prompt, target = drawn(decided("8-1", "wait_for_change(newt egg)", "wait1", ["a newt egg"]))
    assert target == "wait1"
    assert "newt" not in prompt


def test_any_animal_is_met_at_any_age() -> None:
    here = ["an axe", "a blue jay egg", "a dove egg", "wood"]
    focused = [("focus on blue jay egg", "You focus on the blue jay egg.")]
    asked = decided("4-4", "find animal", "pick up blue jay egg", here, role="flat", turns=focused)
    ages = set()
    for seed in range(40):
        prompt, target = drawn(asked, seed)
        taken = target.removeprefix("pick up ")
        assert f"did focus on {taken} |" in prompt
        assert f": axe , {taken} , " in prompt
        ages.add(next((age for age in ("egg", "baby", "juvenile") if age in taken.split()), "any"))
    assert ages == {"egg", "baby", "juvenile", "any"}


def test_paints_change_places_so_that_they_still_mix() -> None:
    first = decided("6-3", "make green-blue paint", "pour(blue, yellow)", ["cup"], role="controller")
    made = {
        drawn(first, seed, share=0.0)[0].partition(" |")[0] + drawn(first, seed, share=0.0)[1] for seed in range(40)
    }
    mixtures = {"green": {"blue", "yellow"}, "orange": {"red", "yellow"}, "violet": {"red", "blue"}}
    assert len(made) == 6
    for text in made:
        mixed, more, *poured = re.fullmatch(r"make (\w+) - (\w+) paintpour (\w+) , (\w+)", text).groups()  # type: ignore[union-attr]
        assert (set(poured), poured[0]) == (mixtures[mixed], more)


def test_mixed_paints_are_found_under_any_name() -> None:
    turns = [("pour it", ""), ("mix it", ""), ("focus on orange", "")]
    second = decided("6-3", "make yellow-orange", "pour(yellow, orange)", role="controller", turns=turns)
    targets = set()
    for seed in range(40):
        prompt, target = drawn(second, seed, share=0.0)
        match = re.match(r"make (.+) - (.+) \| seen hall \| did pour it ; mix it ; focus on \2 \|", prompt)
        assert match
        assert target == f"pour {match[1]} , {match[2]}"
        targets.add(target)
    assert len(targets) > 15


def test_flower_pots_are_numbered_anew_and_apart() -> None:
    here = ["a flower pot 3 (containing a tree)", "a self watering flower pot 1", "a cup 3"]
    example = decided("4-3", "find plant", "pick up flower pot 3", here, role="flat")
    numbers = set()
    for seed in range(30):
        prompt, target = drawn(example, seed)
        tree, other = re.findall(r"flower pot (\d)", prompt)
        assert (target, tree != other) == (f"pick up flower pot {tree}", True)
        assert " 3 | have " in prompt
        numbers.add(tree)
    assert len(numbers) > 5


def test_bystanders_are_renamed_now_and_then() -> None:
    corpus = [decided("1-1", "melt(tin)", None, [thing]) for thing in ("axe", *"bcdefgh")]
    renamed = {drawn(corpus[0], seed, corpus=corpus)[0] for seed in range(100)}
    assert 2 < len(renamed) < 20
    assert all(prompt.startswith("melt tin | room hall : ") for prompt in renamed)


def test_named_things_change_places_with_bystanders() -> None:
    here = ["soap", "a tin cup", "a chair", "a jar (containing table salt)"]
    corpus = [decided("1-1", "melt(tin)", "move tin to cup", here)]
    corpus += [decided("4-1", "find_it()", None, [thing]) for thing in "bcdefghi"]
    swapped = set()
    for seed in range(300):
        prompt, target = drawn(corpus[0], seed, corpus=corpus)
        named, soap, cup, chair, salt = re.fullmatch(  # type: ignore[union-attr]
            r"melt (.+) \| room .+ : (.+) , (.+) cup , (.+) , .+ \( (.+) \) \| have orange", prompt
        ).groups()
        assert (target, cup) == (f"move {named} to cup", named)
        if "tin" in (soap, chair, salt):
            assert named == {soap: "soap", chair: "chair", salt: "table salt"}["tin"]
            swapped.add(named)
    assert swapped == {"soap", "chair", "table salt"}


def test_new_names_sometimes_share_a_word_with_the_scene() -> None:
    example = decided("3-3", "get(foil)", "pick up foil", ["banana", "a glass cup", "foil", "a jar"])
    called = {drawn(example, seed)[1].removeprefix("pick up ") for seed in range(500)}
    assert "glass" in called
    assert "banana" not in called
    assert {"glass", "banana"} <= {name.split()[0] for name in called if " " in name}


def test_unknown_substances_sometimes_get_ordinary_names() -> None:
    asked = "monitor_temperature(solid unknown substance b, melt)"
    read = [
        ("use thermometer on solid unknown substance b", "the thermometer measures a temperature of 5 degrees celsius")
    ]
    stove = "a stove, which is turned on. On the stove is: liquid unknown substance B."
    example = decided("2-3", asked, None, [stove], turns=read)
    forms = set()
    for seed in range(50):
        match = re.fullmatch(
            r"monitor_temperature (.+) , melt \| did use thermometer on (.+) "
            r"\| room hall : stove on holds liquid (.+) \| have orange",
            drawn(example, seed)[0],
        )
        assert match
        assert match[1] == match[2]
        assert match[1].removeprefix("solid ") == match[3]
        forms.add(match[1].startswith("solid unknown substance "))
    assert forms == {True, False}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_scores_do_not_tell_where_things_lie(share: float) -> None:
    def scores(score: int) -> set[int]:
        example = decided("1-1", "melt tin", "look around", ["cup"], role="flat", score=score)
        renamer = Renamer([example], share=share, seed=0)
        return {renamer(example).state.score for _ in range(400)}

    assert scores(2) == scores(14) == set(range(15))
    assert scores(70) == set(range(65, 76))
    assert min(scores(16)) == 15
    assert max(scores(98)) == 99
    assert scores(-100) == {-100}


def read_planes(*percents: int) -> Example:
    turns = [
        (
            f"look at inclined plane {name}",
            f"an inclined plane {name}, with: a block approximately {percent}% down the plane",
        )
        for name, percent in zip("bcdefghij", percents, strict=False)
    ]
    thermometer = "a thermometer, currently reading a temperature of 10 degrees celsius"
    return decided("9-1", "which of two inclined planes", "focus on tin", [thermometer], role="flat", turns=turns)


def test_other_readings_stand_in_the_same_order() -> None:
    for seed in range(20):
        prompt, _ = drawn(read_planes(30, 15, 30), seed)
        first, second, third = (int(digits.replace(" ", "")) for digits in re.findall(r"(\d \d \d) down", prompt))
        assert first == third > second
        assert "thermometer 10" in prompt


def test_readings_out_of_sight_stay_between_the_others() -> None:
    example = read_planes(10, 20, 30, 40, 50, 60, 5, 55, 45)
    for seed in range(20):
        turns = Renamer([example], share=1.0, seed=seed)(example).state.turns
        values = [int(re.search(r"(\d+)%", turn.observation)[1]) for turn in turns]  # type: ignore[index]
        assert values[:6] == sorted(values[:6])
        assert 0 <= values[6] < values[8] < values[7] < 100  # the last three are shown


def test_renaming_leaves_what_must_be_inferred() -> None:
    prompt, target = drawn(decided("1-1", "fill(metal pot, water)", "move metal pot to sink", ["a sink"]))
    assert target.endswith(" to sink")
    assert prompt.startswith("fill ")
    assert ", water | room hall : sink" in prompt
    assert "metal" not in target.split()


@pytest.mark.parametrize("form", ["compact", "compact-plain", "transcript", "seed"])
@pytest.mark.parametrize("role", get_args(Role))
def test_what_could_be_copied_still_can_be(form: str, role: Role) -> None:
    """In real decisions, in every format: what is renamed is renamed in the scene, in the turns and in the answer."""
    chosen = one_of_each_task()
    corpus = examples(chosen, rule_annotations(chosen), role, get_format(form))
    renamer = Renamer(corpus, share=1.0, seed=0)
    changed = 0
    for example in corpus:
        assert example.source
        prompt, target = example.source.written(renamer(example))
        inferred = named(example.target) - words(example.prompt)
        assert named(target) - words(prompt) <= inferred, example
        changed += (prompt, target) != (example.prompt, example.target)
    assert changed > len(corpus) / 3


def named(target: str) -> set[str]:
    """The words of an answer but its verb, which a longer name may push out of a prompt."""
    return words(target.partition(" ")[2] if " " in target else target.partition("(")[2])


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower().replace("_", " ")))
