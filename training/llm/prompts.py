"""The prompts for the annotating model, and the parser of its answers.

A conversation is: the system message with the action templates of `waymark.worlds.scienceworld.actions`; a worked
example, boil water; a second example of the same task type, which the model made itself; the path. Examples are
separate messages, so they have the same form as the question. The notation is the published one (Hashemzadeh et al.
2024):

    1- navigate_to(kitchen): {'open door to kitchen', 'go to kitchen'}
    2- pick_up(thermometer): {'pick up thermometer'}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from waymark.clients.chat import Message
from waymark.worlds.base import COMPLETE
from waymark.worlds.scienceworld.actions import GRAMMAR, Row


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


MEANINGS: Final = {
    ("SEE", 0): "describe the room",
    ("INVENTORY", 0): "list what the agent carries",
    ("TASK", 0): "say the task again",
    ("WAIT", 0): "let ten moments pass",
    ("WAIT1", 0): "let one moment pass",
    ("CHOOSE", 1): "answer with a number when a request could mean several things",
    ("LOOK", 1): "describe something",
    ("LOOK_IN", 1): "describe what something contains",
    ("EXAMINE", 1): "describe something closely",
    ("READ", 1): "read a note, recipe or book",
    ("FOCUS", 1): "signal what the task is about; a wrong focus fails the task",
    ("TELEPORT", 1): "be in a room at once",
    ("GO", 1): "walk into an adjacent room",
    ("OPEN_DOOR", 1): "open the door to an adjacent room",
    ("CLOSE_DOOR", 1): "close the door to an adjacent room",
    ("OPEN", 1): "open a container",
    ("CLOSE", 1): "close a container",
    ("ACTIVATE", 1): "switch a device on",
    ("DEACTIVATE", 1): "switch a device off",
    ("PICK", 1): "take something into the inventory",
    ("DROP", 1): "put something from the inventory down",
    ("EAT", 1): "eat something",
    ("FLUSH", 1): "flush a toilet",
    ("MIX", 1): "mix what a container holds, so that it may react",
    ("DISCONNECT", 1): "take an electrical component out of its circuit",
    ("CONNECT", 2): "join two electrical terminals",
    ("MOVE", 2): "put something into or onto something else",
    ("POUR", 2): "pour a liquid, or what a container holds, into something",
    ("DUNK", 2): "dip a container into a liquid",
    ("USE", 2): "use a tool, such as a thermometer, on something",
    ("USE", 1): "use a device or tool by itself",
}
"""The meaning of each row of the grammar, by verb and number of objects."""

BOIL_WATER: Final = WorkedExample(
    task="Your task is to boil water. For compounds without a boiling point, combusting the substance is also "
    "acceptable. First, focus on the substance. Then, take actions that will cause it to change its state of matter.",
    named=(
        Named(subgoal="navigate_to(kitchen)", actions=("open door to kitchen", "go to kitchen")),
        Named(subgoal="pick_up(thermometer)", actions=("pick up thermometer",)),
        Named(subgoal="pick_up(metal pot)", actions=("open cupboard", "pick up metal pot")),
        Named(
            subgoal="fill(metal pot, water)",
            actions=("move metal pot to sink", "activate sink", "deactivate sink", "pick up metal pot"),
        ),
        Named(subgoal="focus_on(substance in metal pot)", actions=("focus on substance in metal pot",)),
        Named(subgoal="heat(water, metal pot)", actions=("move metal pot to stove", "activate stove")),
        Named(
            subgoal="monitor_temperature(metal pot, boil)",
            actions=("examine substance in metal pot", "use thermometer on substance in metal pot") * 3,
        ),
    ),
)

_SYSTEM = """\
You annotate solved episodes of ScienceWorld, a text game in which an agent carries out science tasks. You are given \
a task and the actions that solved it, in order. You split these actions into sub-goals: what the agent meant to \
reach with each few actions.

The game knows these actions; OBJ stands for an object or a place.
{templates}

Rules
- A sub-goal is written as a function: a verb in lower case with underscores, and in parentheses the things it is \
about, by the names that the actions use. Examples: navigate_to(kitchen), pick_up(thermometer), \
fill(metal pot, water), focus_on(substance in metal pot), heat(water, metal pot), \
monitor_temperature(metal pot, boil), wait(2).
- Each sub-goal takes one or several actions that follow each other. Together the sub-goals take all actions.
- Copy every action exactly as it is given, in the given order, none left out, none added, none changed.
- Answer with the numbered list alone, in this form:
1- navigate_to(kitchen): {{'open door to kitchen', 'go to kitchen'}}
2- pick_up(thermometer): {{'pick up thermometer'}}"""

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


def opening() -> list[Message]:
    """The system message and the worked example: how every conversation begins."""
    templates = "\n".join(f"- {_template(row)}: {MEANINGS[row.verb, row.arity]}" for row in GRAMMAR)
    return [{"role": "system", "content": _SYSTEM.format(templates=templates)}, *shown(BOIL_WATER)]


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
    return "\n".join(f"{number}- {one.subgoal}: {_braced(one.actions)}" for number, one in enumerate(named, start=1))


def read(text: str) -> list[Named]:
    """The sub-goals in an answer; other text around them is ignored. Empty if there are none.

    Reasoning text and a sub-goal that only says that the task is complete are ignored. If an answer was cut off, its
    last action may be incomplete.

    >>> read("1- fill(pot,water): {'activate sink', 'deactivate sink'} 2- wait(1): {'wa")
    [Named(subgoal='fill(pot, water)', actions=('activate sink', 'deactivate sink')), \
Named(subgoal='wait(1)', actions=('wa',))]
    """
    answer = text.rpartition("</think>")[2].partition("<think>")[0]
    found = (
        Named(subgoal=f"{name}({', '.join(_items(arguments))})", actions=tuple(_items(actions)))
        for name, arguments, actions in _SUBGOAL.findall(answer)
    )
    return [named for named in found if named.subgoal != COMPLETE]


def _template(row: Row) -> str:
    return row.pattern.format(*["OBJ" if row.verb != "CHOOSE" else "NUMBER"] * row.arity)


def _items(text: str) -> list[str]:
    """The parts of a list, unquoted; no name or action of the game holds a comma."""
    return [item for item in (" ".join(part.strip(_QUOTES).split()) for part in text.split(",")) if item]


def _braced(actions: Iterable[str]) -> str:
    return "{" + ", ".join(f"'{action}'" for action in actions) + "}"
