"""Training data as the published code makes them, byte for byte, its quirks included.

They differ from what the published loop sends its models when it plays, and so from `training.datasets`, whose prompts
are those of serving:

- Each sub-goal but the last ends in a step of its own, `END_SG()`, answered by `the current subgoal is done.`. It shows
  the scene before the last action of its sub-goal, and the score after it. Equal neighbours are one sub-goal.
- The first action of a path is lost: it is no target and stands in no history. `Time` is one lower.
- The score is 0 in the first example. Rewards are differences of float scores, cut: 33 points may print as 32.
- The controller is asked for the sub-goal of the next step, and knows that of this step already. The published function
  for training leaves it out again (format `seed-imported`), its twin does not (format `seed`).

How the first sub-goal's examples were made is not published: they are the prompts of the published evaluation.
Paths with detours are not published ones, and left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from training.annotations import Annotation
from training.datasets import Example
from training.trajectories import PathKey, Trajectory
from waymark.agent import state as fold
from waymark.contracts import AgentState, Role, Turn
from waymark.errors import InvalidInput
from waymark.worlds.base import COMPLETE, PromptFormat
from waymark.worlds.scienceworld.prompts.seed import SEED, Seed
from waymark.worlds.scienceworld.scene import name_rooms

END_OBSERVATION = "the current subgoal is done."


@dataclass(frozen=True)
class PublishedStep:
    """One step of a path as published: `look` and `inventory` are those before the action, the rest is after it."""

    action: str | None
    """None: the sub-goal ended."""
    observation: str
    look: str
    inventory: str
    score: int
    subgoal: str


@dataclass(frozen=True)
class Row:
    """One moment of a path: what a prompt shows, and how its score and rewards are printed."""

    place: int
    """Of the step to take, from 1; the one at 0 is never asked for."""
    state: AgentState
    rewards: tuple[int, ...]
    """Of the turns that the state holds."""


def align(trajectory: Trajectory, annotation: Annotation) -> list[PublishedStep]:
    """A path with its sub-goals and their ends."""
    named = [
        (segment.subgoal, index) for segment in annotation.segments for index in range(segment.start, segment.stop)
    ]
    steps: list[PublishedStep] = []
    look, inventory = trajectory.look, trajectory.inventory
    for subgoal, run in groupby(named, key=lambda pair: pair[0]):
        if steps:
            steps.append(replace(steps[-1], action=None, observation=END_OBSERVATION))
        for _, index in run:
            step = trajectory.steps[index]
            steps.append(PublishedStep(step.action, step.observation, look, inventory, step.score, subgoal))
            look, inventory = step.look, step.inventory
    return steps


def rows(task: str, steps: Sequence[PublishedStep], *, subgoals: bool = True) -> Iterator[Row]:
    """Every moment of a path at which a model is asked; without `subgoals` the states name none."""
    rooms: tuple[str, ...] = ()
    turns: list[Turn] = []
    rewards: list[int] = []
    given = [steps[0].subgoal] if steps else []
    score = 0
    for place, (last, step) in enumerate(pairwise(steps), start=1):
        rooms = name_rooms(rooms, last.observation, step.look)
        if step.subgoal != given[-1]:
            given.append(step.subgoal)
        shown = SEED.history_turns
        yield Row(
            place=place,
            state=AgentState(
                task=task,
                look=step.look,
                inventory=step.inventory,
                observation=last.observation,
                score=score,
                step=place,
                turns=tuple(turns[-shown:]),
                named_rooms=rooms,
                completed_subgoals=tuple(given[:-1]) if subgoals else (),
                current_subgoal=given[-1] if subgoals else None,
            ),
            rewards=tuple(rewards[-shown:]),
        )
        rewards.append(int((step.score / 100 - score / 100) * 100))
        turns.append(Turn(action=step.action, observation=step.observation, reward=step.score - score))
        score = step.score


def examples(
    trajectories: Iterable[Trajectory],
    annotations: Mapping[PathKey, Annotation],
    role: Role,
    prompt_format: PromptFormat,
    *,
    flat_ends: bool = False,
) -> list[Example]:
    """The published dataset of one role. The flat one is without ended sub-goals, unless `flat_ends` asks for them.

    Both flat ones were published, and not which one was trained on.

    Raises InvalidInput for a format that was not published, KeyError for a trajectory that was not annotated.
    """
    published_format = require_published(prompt_format)
    made: list[Example] = []
    for trajectory in trajectories:
        if any(step.detour for step in trajectory.steps):
            continue
        steps = align(trajectory, annotations[trajectory.key])
        for prompt, target, instruction in _written(trajectory, steps, role, published_format, flat_ends=flat_ends):
            made.append(Example(trajectory.task_id, trajectory.variation, prompt, target, instruction))
    return made


def require_published(prompt_format: PromptFormat) -> Seed:
    """The format itself. Raises InvalidInput for one that was not published."""
    if not isinstance(prompt_format, Seed):
        raise InvalidInput(
            f"Only the formats seed and seed-imported were published, not {prompt_format.name}.",
            remedy="Add --format seed.",
            field="format",
        )
    return prompt_format


def _written(
    trajectory: Trajectory, steps: Sequence[PublishedStep], role: Role, prompt_format: Seed, *, flat_ends: bool
) -> Iterator[tuple[str, str, str]]:
    """Prompt, target and instruction of each example of a path."""
    task = trajectory.task
    if role == "first":
        if steps:
            opening = fold.start(task, trajectory.look, trajectory.inventory)
            yield prompt_format.render(role, opening), steps[0].subgoal, task
        return
    if role == "flat" and not flat_ends:
        steps = [step for step in steps if step.action is not None]
    for row in rows(task, steps, subgoals=role != "flat"):
        prompt = prompt_format.compose(role, row.state, row.rewards)
        if role == "controller":
            follows = steps[row.place + 1].subgoal if row.place + 1 < len(steps) else COMPLETE
            yield prompt, prompt_format.target(role, follows), task
        else:
            instruction = (row.state.current_subgoal or "") if role == "executor" else task
            yield prompt, prompt_format.target(role, steps[row.place].action), instruction
