"""The rules of play against the oracle: they let pass what it does, and what each refuses is counted."""

from __future__ import annotations

from dataclasses import replace

from tests.oracle import rule_annotations, trajectories
from training.annotations import Annotation
from training.trajectories import RecordedStep, Trajectory
from training.worlds.scienceworld.rule_audit import replay
from waymark.worlds.base import COMPLETE, Segment

HALL = "This room is called the hallway. In it, you see: \n\ta picture\n"


def path(*subgoals: str) -> tuple[Trajectory, Annotation]:
    """One action in the hall a sub-goal, each of which changes nothing."""
    nothing = RecordedStep("look around", HALL, HALL, "In your inventory, you see:\n\tan orange\n", 0, 0, [])
    like = trajectories()[0]
    trajectory = replace(like, look=HALL, inventory=nothing.inventory, steps=[nothing] * len(subgoals))
    segments = [Segment(subgoal, at, at + 1) for at, subgoal in enumerate(subgoals)]
    end = Segment(COMPLETE, len(subgoals), len(subgoals))
    return trajectory, Annotation(like.task_id, like.variation, "test", [*segments, end], like.take)


def test_the_rules_let_pass_nearly_all_that_the_oracle_does() -> None:
    chosen = trajectories()[::40]
    audit = replay(chosen, rule_annotations(chosen))
    assert audit.subgoals > 5 * len(chosen)
    assert len(audit.refused) <= 0.03 * audit.subgoals


def test_each_rule_is_counted_where_it_refuses() -> None:
    trajectory, annotation = path("focus_on(axe)", "pick_up(orange)", "focus_on(picture)", "focus_on(picture)")
    audit = replay([trajectory], {trajectory.key: annotation})
    assert audit.subgoals == 4
    assert [(refusal.step, refusal.subgoal, refusal.rule) for refusal in audit.refused] == [
        (1, "focus_on(axe)", "out of sight"),
        (4, "focus_on(picture)", "given before"),
    ]


def test_subgoals_that_end_before_the_oracle_does_are_counted() -> None:
    trajectory, annotation = path("wait1(3)")
    waits = replace(trajectory, steps=trajectory.steps * 5)
    for taken, cut in ((3, []), (5, [(4, "cut short")])):
        longer = replace(annotation, segments=[Segment("wait1(3)", 0, taken), Segment(COMPLETE, taken, taken)])
        audit = replay([replace(waits, steps=waits.steps[:taken])], {trajectory.key: longer})
        assert [(refusal.step, refusal.rule) for refusal in audit.refused] == cut


def test_repeatable_subgoals_are_refused_the_fourth_time() -> None:
    trajectory, annotation = path(*["wait1(5)"] * 4)
    audit = replay([trajectory], {trajectory.key: annotation})
    assert [(refusal.step, refusal.rule) for refusal in audit.refused] == [(4, "given before")]
