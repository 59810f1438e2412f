"""Published prompts and targets against a second program, written from the rules in words alone.

The second program itself reproduces the golden file. So what the golden episodes lack is compared too: one path of each
task type, and drawn ones with every action template, scores below zero, and texts of all kinds.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests import published_rules as second
from tests.golden_episodes import Episode, golden, name, recorded
from tests.oracle import one_of_each_task, rule_annotations
from training import datasets
from training.annotations import Annotation
from training.trajectories import RecordedStep, Trajectory
from training.worlds.scienceworld import published_examples
from waymark.contracts import Role
from waymark.worlds.base import COMPLETE, PromptFormat, Segment
from waymark.worlds.registry import get_format

Pairs = list[tuple[str, str | None]]
SEED, IMPORTED = get_format("seed"), get_format("seed-imported")

ACTIONS = (
    "look around",
    "wait",
    "wait1",
    "0",
    "1",
    "look at substance in metal pot",
    "examine blue box",
    "read recipe titled instructions to make salt water",
    "focus on seed peach tree in bowl",
    "teleport to green house",
    "go to green house",
    "open door to hallway",
    "close door to outside",
    "open freezer",
    "close glass jar (containing nothing)",
    "activate bee hive",
    "deactivate sink",
    "pick up orange tree seed",
    "mix cup containing red paint in art studio",
    "connect anode in battery to cathode in orange wire to the left",
    "move cup containing water to green house to counter",
    "pour wood cup (that is open) into jug in kitchen into bath tub",
    "pour cup in kitchen in cup containing nothing in table",
    "dunk metal pot into sink",
    "drop orange",
    "drop red cup in inventory",
    "use thermometer in inventory on substance on stove",
)
OBSERVATIONS = (
    "You move to the green house.",
    "You move to the outside.",
    "You teleport to the workshop.",
    "The door is already open.",
    "Ambiguous request: Please enter the number for the action you intended:\n0:\tfocus on a\n1:\tb",
    "You move the cup (containing nothing) to the counter.",
    "",
)
LOOKS = (
    "This room is called the green house. In it, you see: \n\tthe agent\n\ta bee hive. The bee hive door is open. \n",
    "This outside location is called the outside. Here you see: \n\tthe air\n",
    "This room is called the kitchen.  In it:\n\ta glass jar (containing nothing)\n\ta door (that is open)\n\n\tseed",
    "It is dark.",
)


def taken(path: Trajectory, annotation: Annotation) -> list[second.Taken]:
    """The path as the second program reads it."""
    steps, look, inventory = [], path.look, path.inventory
    for segment in annotation.segments:
        for step in path.steps[segment.start : segment.stop]:
            steps.append(
                second.Taken(step.action, step.observation, step.score, look, inventory, segment.subgoal),
            )
            look, inventory = step.look, step.inventory
    return steps


def drawn(seed: int) -> tuple[Trajectory, Annotation]:
    """A path of drawn actions, answers, scenes and scores, whose neighbouring sub-goals differ."""
    draw = random.Random(seed)
    steps = [
        RecordedStep(
            draw.choice(ACTIONS),
            draw.choice(OBSERVATIONS),
            draw.choice(LOOKS),
            draw.choice(LOOKS),
            draw.choice((draw.randrange(-100, 101), 8, 29, 33, 57, 58, -29)),
            0,
            [],
        )
        for _ in range(draw.choice((1, 2, 40)))
    ]
    steps[-1] = replace(steps[-1], score=100)
    segments: list[Segment] = []
    start = 0
    while start < len(steps):
        stop = min(len(steps), start + draw.choice((1, 1, 2, 7)))
        last = segments[-1].subgoal if segments else ""
        segments.append(
            Segment(draw.choice([subgoal for subgoal in ("a(b)", "c(d, e)", "f()") if subgoal != last]), start, stop)
        )
        start = stop
    path = Trajectory(
        "4-1", 0, "train", "easy", "gold", len(steps), "Your task  is\tthis.", LOOKS[seed % len(LOOKS)], "", steps
    )
    return path, Annotation("4-1", 0, "drawn", [*segments, Segment(COMPLETE, start, start)])


def merged(annotation: Annotation) -> Annotation:
    """Equal neighbouring sub-goals as one."""
    segments = [annotation.segments[0]]
    for segment in annotation.segments[1:]:
        if segment.subgoal == segments[-1].subgoal:
            segments[-1] = replace(segments[-1], stop=segment.stop)
        else:
            segments.append(segment)
    return replace(annotation, segments=segments)


def as_published(path: Trajectory, annotation: Annotation, role: Role, prompts: PromptFormat) -> Pairs:
    examples = published_examples.examples([path], {path.key: annotation}, role, prompts)
    return [(example.prompt, example.target) for example in examples]


def compare(path: Trajectory, annotation: Annotation) -> None:
    """Raise AssertionError at the first string that differs."""
    steps = second.with_ends(taken(path, annotation))
    rows = second.dataset(path.task, steps)
    flat = second.dataset(path.task, taken(path, annotation), subgoals=False)
    assert as_published(path, annotation, "executor", SEED) == [(row["executor"], row["action"]) for row in rows]
    assert as_published(path, annotation, "controller", SEED) == [(row["twin"], row["subgoal"]) for row in rows]
    assert as_published(path, annotation, "controller", IMPORTED) == [
        (row["controller"], row["subgoal"]) for row in rows
    ]
    assert as_published(path, annotation, "flat", SEED) == [(row["flat"], row["action"]) for row in flat]
    entries = second.evaluation(path.task, steps)
    named = {path.key: merged(annotation)}  # our own datasets keep equal neighbours apart
    executor = datasets.examples([path], named, "executor", SEED)
    assert [example.prompt for example in executor] == [entry["executor"] for entry in entries]
    for prompts, key in ((SEED, "controller"), (IMPORTED, "as imported")):
        controller = datasets.examples([path], named, "controller", prompts, "every-step")[1:-1]
        assert [example.prompt for example in controller] == [entry[key] for entry in entries[1:]]


@pytest.mark.parametrize("episode", golden(), ids=name)
def test_the_second_program_reproduces_the_golden_file(episode: Episode) -> None:
    path, annotation = recorded(episode)
    steps = second.with_ends(taken(path, annotation))
    rows = second.dataset(path.task, steps)
    names = ("executor_input", "controller_input", "controller_test_input", "flat_input", "executor_target")
    ours = ("executor", "controller", "twin", "flat", "action")
    for row, expected in zip(rows, episode["dataset"], strict=True):
        assert [row[key] for key in ours] == [expected[key] for key in names]
    for entry, expected in zip(second.evaluation(path.task, steps), episode["evaluation"], strict=True):
        assert entry["executor"] == expected["executor_input"]
        assert entry.get("controller") == expected["controller_input"]
        assert entry.get("as imported") == expected["controller_input_as_imported"]


def test_golden_rules_hold_on_a_path_of_each_task_type() -> None:
    paths = [path for path in one_of_each_task() if not any(step.detour for step in path.steps)]
    annotations = rule_annotations(paths)
    for path in paths:
        compare(path, annotations[path.key])


@pytest.mark.parametrize("seed", range(40))
def test_golden_rules_hold_on_drawn_paths(seed: int) -> None:
    compare(*drawn(seed))
