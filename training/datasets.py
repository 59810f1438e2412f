"""Datasets: every decision on an oracle path as a prompt and its target, for one role.

Prompts come from the same fold and the same renderer as in serving; no code here writes prompt text.

    controller   at the start of each sub-goal, or at every step: which sub-goal to follow now
    first        only the first of those
    executor     at each step of a sub-goal: the next action; after its last step: the sub-goal has ended (but for
                 the step that solves the task: nobody is asked after that, and it may have cut the sub-goal short)
    flat         at each step: the next action, no sub-goals in the state

Published training data differ from this in several points: a world's `published_examples` makes them byte for byte.

On disk a dataset is a folder with a Parquet file a split (`train.parquet`, `dev.parquet`, a row an example) and
`manifest.json`: what it was made from, how, and its statistics.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from training.annotations import Annotation
from training.trajectories import PathKey, RecordedStep, Trajectory
from training.user_files import replacing, sha256_of
from training.worlds.base import PUBLISHED_SEED, Sampling
from training.worlds.registry import find_task, in_order, training_world_of
from waymark.agent.prompt import write_prompt, write_target
from waymark.agent.state import StateFold
from waymark.contracts import AgentState, Role
from waymark.errors import InvalidInput
from waymark.worlds.base import SOLVED, PromptFormat, Segment, Split
from waymark.worlds.registry import world_of_task

MANIFEST = "manifest.json"
ControllerExamples = Literal["on-end", "every-step"]
"""When the controller is asked along a path: when a sub-goal begins, or, as published, before every action and every
end of a sub-goal."""
_SCHEMA = pa.schema(
    [
        ("task_id", pa.string()),
        ("variation", pa.int32()),
        ("prompt", pa.string()),
        ("target", pa.string()),
        ("instruction", pa.string()),
    ]
)
_ROW_GROUP = 4096
_CORRECTIONS = 3
"""Number of decisions after an agent's own turns that count as corrections."""


@dataclass(frozen=True)
class Decision:
    """A state on an oracle path, with all turns, and the oracle's decision in it (None: the sub-goal has ended)."""

    state: AgentState
    answer: str | None
    is_correction: bool = False
    """Whether it is among the first decisions after an agent's own turns, which led astray."""

    def written(self, role: Role, prompt_format: PromptFormat) -> tuple[str, str]:
        """Its prompt and target, by the code that serves."""
        return (
            write_prompt(prompt_format, role, self.state),
            write_target(prompt_format, role, self.state, self.answer),
        )


@dataclass(frozen=True, slots=True)
class Source:
    """What an example was written from."""

    decision: Decision
    """With the turns that the format shows."""
    role: Role
    prompt_format: PromptFormat

    def written(self, decision: Decision) -> tuple[str, str]:
        """Prompt and target of another decision, written in the same way."""
        return decision.written(self.role, self.prompt_format)


@dataclass(frozen=True, slots=True)
class Example:
    """One decision as text. `instruction` is the task or sub-goal in the prompt."""

    task_id: str
    variation: int
    prompt: str
    target: str
    instruction: str
    source: Source | None = field(default=None, compare=False, repr=False)
    """None if published code wrote the example."""

    @classmethod
    def of(cls, task_id: str, variation: int, decision: Decision, role: Role, prompt_format: PromptFormat) -> Self:
        """A decision as text."""
        state = StateFold(decision.state).visible(prompt_format.history_turns)
        source = Source(replace(decision, state=state), role, prompt_format)
        instruction = (state.current_subgoal or "") if role == "executor" else state.task
        return cls(task_id, variation, *source.written(source.decision), instruction, source)


def decisions(
    trajectory: Trajectory, annotation: Annotation, role: Role, controller: ControllerExamples = "on-end"
) -> Iterator[Decision]:
    """All decisions of one role along a path, in order. Perturbations are part of the history, never decisions.

    An agent's own turns are history too, with one exception: if they end in a sub-goal that led nowhere, the executor
    learns to end it there.
    """
    correct = _CORRECTIONS if trajectory.begins_with_own_turns else 0
    for number, decision in enumerate(_decisions(trajectory, annotation, role, controller)):
        yield replace(decision, is_correction=True) if number < correct else decision


def _decisions(
    trajectory: Trajectory, annotation: Annotation, role: Role, controller: ControllerExamples
) -> Iterator[Decision]:
    every_step = role == "controller" and controller == "every-step"
    world = world_of_task(trajectory.task_id).agent
    fold = StateFold.start(trajectory.task, trajectory.look, trajectory.inventory, world)
    for place, segment in enumerate(annotation.segments):
        steps, detour = trajectory.steps[segment.start : segment.stop], on_detour(trajectory, segment)
        is_asked = not detour and not _goes_on(trajectory, annotation, place - 1)
        if is_asked and (role == "controller" or (role == "first" and segment.start == 0)):
            yield Decision(fold.state, segment.subgoal)
        if role != "flat":
            fold.give_subgoal(segment.subgoal)
        for number, step in enumerate(steps):
            if every_step and number and not detour:
                yield Decision(fold.state, segment.subgoal)
            if role in ("executor", "flat") and not detour:
                yield Decision(fold.state, step.action)
            take_turn(fold, step)
        ends = bool(steps) and (fold.state.score < SOLVED or segment.stop < len(trajectory.steps))
        if every_step and ends and not detour:
            yield Decision(fold.state, segment.subgoal)
        if role == "executor" and ends and (not detour or _leads_nowhere(trajectory, annotation, place)):
            yield Decision(fold.state, None)
        if role != "flat" and not _goes_on(trajectory, annotation, place):
            fold.end_subgoal()


def take_turn(fold: StateFold, step: RecordedStep) -> None:
    """Add a recorded turn to a history: an action, or, among an agent's own turns, the end of a sub-goal."""
    if step.ends_subgoal:
        fold.end_subgoal()
    else:
        fold.act(step.action, step.observation, step.look, step.inventory, step.score)


def _is_own(trajectory: Trajectory, segment: Segment) -> bool:
    """Whether a segment is a sub-goal of an agent's own turns."""
    return segment.stop > segment.start and bool(trajectory.steps[segment.start].subgoal)


def _goes_on(trajectory: Trajectory, annotation: Annotation, place: int) -> bool:
    """Whether the agent's own sub-goal at this place of the annotation is in force in the next segment too: nobody
    ended it, and the next segment is the same sub-goal, or another one of the agent's, which replaced it."""
    segments = annotation.segments
    if not 0 <= place < len(segments) - 1 or not _is_own(trajectory, segments[place]):
        return False
    following = segments[place + 1]
    if trajectory.steps[segments[place].stop - 1].ends_subgoal:
        return False
    return _is_own(trajectory, following) or following.subgoal == segments[place].subgoal


def _leads_nowhere(trajectory: Trajectory, annotation: Annotation, place: int) -> bool:
    """Whether the agent's own turns end here, in the middle of a sub-goal that the path does not follow."""
    segment = annotation.segments[place]
    is_ended = segment.stop > 0 and trajectory.steps[segment.stop - 1].ends_subgoal
    return _is_own(trajectory, segment) and not is_ended and not _goes_on(trajectory, annotation, place)


def on_detour(trajectory: Trajectory, segment: Segment) -> bool:
    """Whether a part of a path is a perturbation or an agent's own turns: history, in which no model is asked."""
    return any(step.detour for step in trajectory.steps[segment.start : segment.stop])


def examples(
    trajectories: Iterable[Trajectory],
    annotations: dict[PathKey, Annotation],
    role: Role,
    prompt_format: PromptFormat,
    controller: ControllerExamples = "on-end",
) -> list[Example]:
    """The dataset of one role. Raises KeyError for a trajectory that was not annotated.

    A prompt shows as many turns as a worker sends to a model of this format.
    """
    return [
        write_example(trajectory, decision, role, prompt_format)
        for trajectory in trajectories
        for decision in decisions(trajectory, annotations[trajectory.key], role, controller)
    ]


def write_example(trajectory: Trajectory, decision: Decision, role: Role, prompt_format: PromptFormat) -> Example:
    """One decision on a path as its prompt and target."""
    return Example.of(trajectory.task_id, trajectory.variation, decision, role, prompt_format)


def sample(trajectories: Sequence[Trajectory], sampling: Sampling, seed: int = PUBLISHED_SEED) -> list[Trajectory]:
    """The trajectories of a dataset; `published` keeps only the published train variations.

    Dev stays whole. `seed` shuffles the variations of the tasks that were down-sampled.
    """
    if sampling == "all":
        return list(trajectories)
    tasks = in_order(trajectory.task_id for trajectory in trajectories)
    kept = {task.id: set(training_world_of([task.id]).published_variations(task, seed)) for task in tasks}
    return [
        trajectory
        for trajectory in trajectories
        if trajectory.split != "train" or trajectory.variation in kept[trajectory.task_id]
    ]


def missing(trajectories: Sequence[Trajectory]) -> dict[str, int]:
    """Task id to the number of published train variations that were not recorded; complete tasks are left out."""
    recorded = {(trajectory.task_id, trajectory.variation) for trajectory in trajectories}
    world = training_world_of(trajectory.task_id for trajectory in trajectories)
    lacking = {
        task.id: sum(
            task.split_of(variation) == "train" and (task.id, variation) not in recorded
            for variation in world.published_variations(task)
        )
        for task in world.world.tasks
    }
    return {task: count for task, count in lacking.items() if count}


def check_splits(corpora: Mapping[Split, Iterable[Example]]) -> None:
    """Check that no test variation is trained on: every example must belong to a variation of its split.

    Raises InvalidInput (field `data`) that names the first leak and how many variations leak.
    """
    leaks = {
        (example.task_id, example.variation, split): actual
        for split, corpus in corpora.items()
        for example in corpus
        if (actual := find_task(example.task_id).split_of(example.variation)) != split
    }
    if leaks:
        (task, variation, split), actual = next(iter(leaks.items()))
        raise InvalidInput(
            f"Variation {variation} of task {task} is for {actual}, but it is among the {split} examples "
            f"({len(leaks)} such variations).",
            remedy="Record the trajectories again: python -m training trajectories. The world's tasks say which "
            "variations are whose.",
            field="data",
        )


def write_dataset(folder: Path, corpora: Mapping[Split, Sequence[Example]], about: Mapping[str, Any]) -> None:
    """Write each split as `SPLIT.parquet`, and `about` with the files' hashes as `manifest.json`. A failure leaves the
    files of an older dataset as they were."""
    files = {}
    with ExitStack() as written:  # replaces the files together, at its end
        for split, corpus in corpora.items():
            table = f"{split}.parquet"
            partial = written.enter_context(replacing(folder / table))
            with pq.ParquetWriter(partial, _SCHEMA, compression="zstd") as writer:
                for start in range(0, len(corpus), _ROW_GROUP):
                    rows = [
                        {name: getattr(example, name) for name in _SCHEMA.names}
                        for example in corpus[start : start + _ROW_GROUP]
                    ]
                    writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
            files[table] = sha256_of(partial)
        manifest = written.enter_context(replacing(folder / MANIFEST))
        manifest.write_text(json.dumps({**about, "files": files}, indent=1) + "\n")
