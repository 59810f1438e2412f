"""The grammar table against the simulator: it covers all that ScienceWorld lists, and is read as it is meant."""

from __future__ import annotations

import pytest

from waymark.errors import UnparsableAction
from waymark.worlds.scienceworld import actions
from waymark.worlds.scienceworld.environment import ScienceWorldSlot

SCENES = [
    ("1-1", "easy", ["kitchen", "foundry"]),
    ("2-1", "easy", ["workshop", "living room"]),
    ("3-3", "easy", ["workshop", "bathroom"]),
    ("6-2", "easy", ["art studio"]),
    ("9-2", "easy", ["workshop"]),
    ("10-1", "easy", ["greenhouse", "outside"]),
    ("3-1", "", []),
    ("5-1", "", []),
]

KITCHEN_ALIASES = [
    ("look", "look around"),
    ("look on stove", "look at stove"),
    ("focus stove", "focus on stove"),
    ("teleport hallway", "teleport to hallway"),
    ("go through door to hallway", "go to door to hallway"),
    ("walk to hallway", "go to hallway"),
    ("move into hallway", "go to hallway"),
    ("go hallway", "go to hallway"),
    ("turn on stove", "activate stove"),
    ("turn off stove", "deactivate stove"),
    ("get thermometer", "pick up thermometer"),
    ("take thermometer", "pick up thermometer"),
    ("drop thermometer", "put down thermometer"),
    ("consume banana", "eat banana"),
    ("stir sink", "mix sink"),
    ("put thermometer in sink", "move thermometer to sink"),
    ("move thermometer into sink", "move thermometer to sink"),
    ("pour bowl in sink", "pour bowl into sink"),
    ("dunk bowl in sink", "dunk bowl into sink"),
    ("use thermometer with stove", "use thermometer on stove"),
]


@pytest.mark.parametrize(("task", "simplifications", "rooms"), SCENES)
def test_every_template_and_valid_action_round_trips(
    slot: ScienceWorldSlot, task: str, simplifications: str, rooms: list[str]
) -> None:
    slot.reset(task, 0, simplifications)
    texts = set(slot.valid_actions())
    for room in rooms:
        assert slot.step(f"teleport to {room}").known
        texts |= set(slot.valid_actions())
    assert len(texts) > 100
    for text in texts:
        action = actions.parse(text)
        assert actions.format(action) == text
        assert actions.parse_formal(actions.formal(action)) == action
    for template in set(slot.action_templates()) - {"reset task"}:
        assert actions.format(actions.parse(template)).count("OBJ") == template.count("OBJ")


def test_the_grammar_refuses_reset_task_which_the_simulator_lists(slot: ScienceWorldSlot) -> None:
    slot.reset("4-2", 0, "easy")
    assert "reset task" in slot.action_templates()
    assert "reset task" not in slot.valid_actions()
    with pytest.raises(UnparsableAction):
        actions.parse("reset task")


def test_one_action_of_each_kind_is_understood_in_canonical_form(slot: ScienceWorldSlot) -> None:
    # The simulator also lists actions on what closed cupboards hold, and does not understand those.
    slot.reset("4-2", 0, "easy")
    step = slot.step("teleport to kitchen")
    seen = set((step.look + step.inventory).replace(",", " ").replace(")", " ").split())
    parsed = [actions.parse(text) for text in slot.valid_actions()]
    sample = {action.verb: action for action in parsed if set(" ".join(action.args).split()) <= seen}
    assert len(sample) > 20
    for action in sample.values():
        slot.reset("4-2", 0, "easy")
        slot.step("teleport to kitchen")
        assert slot.step(actions.format(action)).known, action


@pytest.mark.parametrize(("alias", "canonical"), KITCHEN_ALIASES)
def test_the_simulator_reads_an_alias_and_its_canonical_form_alike(
    slot: ScienceWorldSlot, alias: str, canonical: str
) -> None:
    answers = []
    for text in (alias, canonical):
        slot.reset("4-2", 0, "easy")
        slot.step("teleport to kitchen")
        step = slot.step(text)
        assert step.known
        answers.append((step.observation, step.look, step.inventory, step.moves))
    assert answers[0] == answers[1]
    assert actions.format(actions.parse(alias)) == canonical


@pytest.mark.parametrize(("task", "variation"), [("6-3", 2), ("2-1", 0), ("5-1", 1)])
def test_a_gold_path_in_canonical_form_solves_its_task(slot: ScienceWorldSlot, task: str, variation: int) -> None:
    path = [actions.parse(text) for text in slot.gold_path(task, variation, "easy")]
    slot.reset(task, variation, "easy")
    last = [slot.step(actions.format(action)) for action in path][-1]
    assert (last.score, last.completed) == (100, True)
