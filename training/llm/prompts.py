"""The prompts for the annotating model, and the parser of its answers.

A conversation is: the system message and a worked example, both of which the world gives; a second example of the same
task type, which the model made itself; the path. Examples are separate messages, so they have the same form as the
question. The notation is the published one (Hashemzadeh et al. 2024):

    1- navigate_to(kitchen): {'open door to kitchen', 'go to kitchen'}
    2- pick_up(thermometer): {'pick up thermometer'}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from waymark.clients.chat import Message
from waymark.worlds.base import COMPLETE


class Named(BaseModel):
    """A sub-goal and the actions that reach it."""

    model_config = ConfigDict(frozen=True)

    subgoal: str
    actions: tuple[str, ...]


class WorkedExample(BaseModel):
    """A path with its sub-goals, shown before the path of the question."""

    model_config = ConfigDict(frozen=True)

    task: str
    named: tuple[Named, ...]


@dataclass(frozen=True)
class AnnotationPrompts:
    """What a large model is told of a world before it annotates paths there (`TrainingWorld.annotation_prompts`)."""

    system: str
    """The system message: the game, its actions, and the form of an answer."""
    example: WorkedExample


_REPAIR = """\
These actions of the path are in none of your sub-goals. Name sub-goals for them in the same form, every action \
once and in this order. Answer with the numbered list for these actions alone.
{runs}"""

_SUBGOAL = re.compile(
    r"""(?<!\w)([A-Za-z]\w{0,99})\(([^{}\[\]\n]{0,1000}?)\)  # a name and its arguments; bounds keep this linear
        [\s*`]{0,50}:[\s*`]{0,50}           # a colon, perhaps with Markdown's emphasis around it
        [{\[]([^{}\[\]]*)                   # the actions, up to the closing brace or to where the answer was cut off
    """,
    re.VERBOSE,
)
_QUOTES = " \t\r\n'\"`‘’“”"


def opening(annotation_prompts: AnnotationPrompts) -> list[Message]:
    """The system message and the worked example: how every conversation begins."""
    return [{"role": "system", "content": annotation_prompts.system}, *shown(annotation_prompts.example)]


def shown(example: WorkedExample) -> list[Message]:
    """An example as a question and its answer."""
    actions = [action for named in example.named for action in named.actions]
    return [asked(example.task, actions), {"role": "assistant", "content": written(example.named)}]


def asked(task: str, actions: Sequence[str]) -> Message:
    """The question: a task and the path that solved it."""
    return {"role": "user", "content": f"Task: {task}\nActions: {_braced(actions)}"}


def repair(runs: Iterable[Sequence[str]]) -> Message:
    """The question about actions that an answer left out."""
    return {"role": "user", "content": _REPAIR.format(runs="\n".join(map(_braced, runs)))}


def written(named: Iterable[Named]) -> str:
    """Sub-goals in the published notation."""
    return "\n".join(
        f"{number}- {subgoal.subgoal}: {_braced(subgoal.actions)}" for number, subgoal in enumerate(named, start=1)
    )


def read(text: str) -> list[Named]:
    """The sub-goals in an answer; other text around them is ignored. Empty if there are none.

    Reasoning text and a sub-goal that only says that the task is complete are ignored. If an answer was cut off, its
    last action may be incomplete.

    >>> read("1- fill(pot,water): {'activate sink', 'deactivate sink'} 2- wait(1): {'wa")
    [Named(subgoal='fill(pot, water)', actions=('activate sink', 'deactivate sink')), \
Named(subgoal='wait(1)', actions=('wa',))]
    """
    answer = text.rpartition("</think>")[2].partition("<think>")[0]
    subgoals = (
        Named(subgoal=f"{name}({', '.join(_items(arguments))})", actions=tuple(_items(actions)))
        for name, arguments, actions in _SUBGOAL.findall(answer)
    )
    return [named for named in subgoals if named.subgoal != COMPLETE]


def _items(text: str) -> list[str]:
    """The parts of a list, unquoted; no name or action of the game holds a comma."""
    return [item for item in (" ".join(part.strip(_QUOTES).split()) for part in text.split(",")) if item]


def _braced(actions: Iterable[str]) -> str:
    return "{" + ", ".join(f"'{action}'" for action in actions) + "}"
