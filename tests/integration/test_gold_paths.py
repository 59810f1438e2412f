"""The simulator's own paths, recorded on a real JVM as they were for the published data."""

from __future__ import annotations

import re

from tests.golden_episodes import COPY, golden, recorded
from training.annotations import annotate_by_rule
from training.trajectories import Trajectory, Wanted
from training.worlds.scienceworld.gold_paths import record_gold
from training.worlds.scienceworld.published_examples import align
from waymark.worlds.scienceworld.environment import ScienceWorldSlot

_NUMBER = re.compile(r"-?\d+")
TASKS = ("1-4", "2-1", "7-3", "6-2")


def test_gold_paths_are_recorded_as_published(slot: ScienceWorldSlot) -> None:
    """The simulator may draw another path or other things; where it does not, all that is recorded is the same."""
    alike = 0
    for episode in (entry for entry in golden(COPY) if entry["task"] in TASKS):
        theirs, _ = recorded(episode)
        [ours] = record_gold(slot, Wanted(episode["task"], episode["variation"], "easy"))
        assert (ours.score, ours.form, ours.task) == (100, "gold", theirs.task)
        assert not any(step.action.startswith(("look around", "close door")) for step in ours.steps)
        if recorded_facts(ours)[:2] == recorded_facts(theirs)[:2] and [step.action for step in ours.steps] == [
            step.action for step in theirs.steps
        ]:
            assert recorded_facts(ours) == recorded_facts(theirs)
            alike += 1
        steps = align(ours, annotate_by_rule(ours))
        assert [step.action for step in steps if step.action] == [step.action for step in ours.steps]
    assert alike


def recorded_facts(path: Trajectory) -> list[object]:
    """What is recorded of a path, but for the scene after its end, which golden episodes do not have.

    What instruments read is left out: heat spreads by chance.
    """
    scenes = [(_NUMBER.sub("N", step.look), _NUMBER.sub("N", step.inventory)) for step in path.steps[:-1]]
    results = [(_NUMBER.sub("N", step.observation), step.score) for step in path.steps]
    return [_NUMBER.sub("N", path.look), _NUMBER.sub("N", path.inventory), scenes, results]


def test_an_ambiguous_request_keeps_its_question_and_its_answer(slot: ScienceWorldSlot) -> None:
    slot.reset("4-2", 0, "easy")
    slot.step_as_given("teleport to greenhouse")
    question = slot.step_as_given("pick up flower pot")
    assert question.observation.startswith("Ambiguous request")
    answered = slot.step_as_given("0")
    assert answered.observation.startswith("You move the")
    assert answered.known
