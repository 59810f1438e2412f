"""What a large model is told of ScienceWorld before it annotates paths: the action templates, and how to boil water."""

from __future__ import annotations

from typing import Final

from training.llm.prompts import AnnotationPrompts, Named, WorkedExample
from waymark.worlds.scienceworld.actions import GRAMMAR, Row

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


def _template(row: Row) -> str:
    return row.pattern.format(*["OBJ" if row.verb != "CHOOSE" else "NUMBER"] * row.arity)


_TEMPLATES: Final = "\n".join(f"- {_template(row)}: {MEANINGS[row.verb, row.arity]}" for row in GRAMMAR)
PROMPTS: Final = AnnotationPrompts(_SYSTEM.format(templates=_TEMPLATES), BOIL_WATER)
