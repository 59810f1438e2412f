"""Datasets: every decision on an oracle path as a prompt and its target, for one role.

Prompts come from the same fold and the same renderer that serving uses; nothing here writes prompt text.

    controller   at the start of each sub-goal: which sub-goal comes next
    first        only the first of those
    executor     at each step of a sub-goal: the next action; after its last step: the sub-goal has ended
    flat         at each step: the next action, no sub-goals in the state
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from training.annotate import Annotation
from training.trajectories import Trajectory
from waymark import state as fold
from waymark.contracts import AgentState, Role
from waymark.prompts import PromptFormat


@dataclass(frozen=True)
class Example:
    """One decision. `instruction` is the part of the prompt that tells the model what to do."""

    task_id: str
    variation: int
    prompt: str
    target: str
    instruction: str


@dataclass(frozen=True)
class Decision:
    """A state on an oracle path and what the oracle decided there (None: the sub-goal has ended)."""

    state: AgentState
    answer: str | None


def decisions(trajectory: Trajectory, annotation: Annotation, role: Role) -> Iterator[Decision]:
    """All decisions of one role along a path, in order."""
    hierarchical = role != "flat"
    state = fold.start(trajectory.task, trajectory.look, trajectory.inventory)
    for segment in annotation.segments:
        if role == "controller" or (role == "first" and segment.start == 0):
            yield Decision(state, segment.subgoal)
        if hierarchical:
            state = fold.with_subgoal(state, segment.subgoal)
        for step in trajectory.steps[segment.start : segment.stop]:
            if role in ("executor", "flat"):
                yield Decision(state, step.action)
            state = fold.after_step(state, step.action, step.observation, step.look, step.inventory, step.score)
        if role == "executor" and segment.stop > segment.start:
            yield Decision(state, None)


def examples(
    trajectories: Iterable[Trajectory],
    annotations: dict[tuple[str, int], Annotation],
    role: Role,
    prompt_format: PromptFormat,
) -> list[Example]:
    """The dataset of one role. Raises KeyError for a trajectory that was not annotated."""
    made: list[Example] = []
    for trajectory in trajectories:
        annotation = annotations[trajectory.task_id, trajectory.variation]
        for decision in decisions(trajectory, annotation, role):
            state = decision.state
            made.append(
                Example(
                    task_id=trajectory.task_id,
                    variation=trajectory.variation,
                    prompt=prompt_format.render(role, state),
                    target=prompt_format.target(role, decision.answer),
                    instruction=(state.current_subgoal or "") if role == "executor" else state.task,
                )
            )
    return made


_WORD = re.compile(r"[a-z]+")
_GRAMMAR = frozenset(
    "to on in into with and containing inventory room the of first focus pick move pour wait substance unknown "
    "terminal anode cathode surface inclined plane seed plant box up boil melt freeze change".split()
)
_SYLLABLES = (
    "ba be bi bo da do fa fe ga go ka ki la lo ma mi mo na ne no pa pe ra ri ro sa se ta ti to va vo wa zu".split()
)


class Renamer:
    """Consistent renaming: words that the instruction names and the answer repeats get other names throughout.

    Test variations hold out substances, plants and components. A model that has learnt `water` as the answer
    boils water whatever it is told; one that has seen the named thing change its name learns to copy it.
    Only names that the instruction gives are renamed, so nothing that has to be inferred is lost.
    """

    def __init__(self, corpus: Sequence[Example], *, share: float, seed: int) -> None:
        self._share = share
        self._random = random.Random(seed)
        self._names = sorted({word for example in corpus for word in _nameable(example)})

    def __call__(self, example: Example) -> tuple[str, str]:
        """Prompt and target, renamed with the probability `share`."""
        if self._random.random() >= self._share:
            return example.prompt, example.target
        return self._renamed(example.prompt, example)

    def drill(self, example: Example) -> tuple[str, str] | None:
        """A copying drill: the instruction alone, always renamed; None where the answer needs more than that.

        Short, so ten times cheaper than the whole prompt, and nothing but copying solves it.
        """
        instruction = example.prompt.split(" | ", 1)[0]
        known = _GRAMMAR | set(instruction.split())
        if not _nameable(example) or not known.issuperset(example.target.split()[1:]):
            return None
        return self._renamed(instruction, example)

    def _renamed(self, prompt: str, example: Example) -> tuple[str, str]:
        names = {word: self._name(word) for word in _nameable(example)}
        return _replace(prompt, names), _replace(example.target, names)

    def _name(self, word: str) -> str:
        if len(word) == 1:
            return self._random.choice("abcdefghijklmnopqrstuvwxyz")
        if self._random.random() < 0.5:
            return self._random.choice(self._names)
        return "".join(self._random.choices(_SYLLABLES, k=self._random.randint(2, 3)))


def _nameable(example: Example) -> list[str]:
    """Words that both the instruction and the answer hold, the answer's verb and grammar words excluded."""
    told = set(_WORD.findall(example.instruction.lower()))
    answer = example.target.split()[1:]
    return [word for word in dict.fromkeys(answer) if word in told and _WORD.fullmatch(word) and word not in _GRAMMAR]


def _replace(text: str, names: dict[str, str]) -> str:
    return " ".join(names.get(word, word) for word in text.split(" "))
