"""A whole plan asked of a large model once, at the start of an episode: the published LLM-planner baseline.

The model is told what kinds of sub-goals the executor knows and shown one worked example; it then reads the task and
what an agent sees first, and writes a numbered list. It is not asked again, whatever comes of its plan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from waymark.contracts import AgentState, Usage
from waymark.errors import PlannerFailed, PlanUnreadable, ServiceError
from waymark.worlds.scienceworld.subgoals import COMPLETE

if TYPE_CHECKING:
    from waymark.clients.chat import Answer, Message

LONGEST_PLAN: Final = 200
"""Sub-goals. No oracle path has so many; a model that goes on is repeating itself."""
_LONGEST_SUBGOAL: Final = 500
_SHOWN: Final = 200
"""Characters of an unreadable answer that its error quotes."""

_KINDS: Final = (
    ("navigate_to(ROOM)", "go to a room, wherever the agent is: doors need no sub-goal"),
    ("focus_on(THING)", "tell the game that this thing is meant; only if the task says so, the wrong thing ends it"),
    ("pick_up(THING)", "take it along"),
    ("drop(THING)", "put it down"),
    ("move(THING, PLACE)", "put a thing into or onto something in the same room"),
    ("open(CONTAINER)", "open a cupboard, a drawer, a freezer"),
    ("open_everything()", "open all closed containers in sight"),
    ("pour(CONTAINER, CONTAINER)", "pour what the first contains into the second"),
    ("mix(CONTAINER)", "mix what a container contains"),
    ("fill(CONTAINER, water)", "fill it at the sink of this room"),
    ("water(POT, POT, …)", "water flower pots with the jug, at a sink in this room"),
    ("heat(THING, DEVICE)", "put it on a stove, into an oven or a blast furnace, and switch that on"),
    ("cool(THING, DEVICE)", "put it into a fridge or a freezer"),
    ("measure_temperature(THING)", "use the thermometer, which must be carried, once"),
    ("monitor_temperature(SUBSTANCE, boil)", "the same again and again until it boils, or `melt`, `freeze`, `change`"),
    ("wait_for_change(THING)", "wait until something that is heated or cooled has changed"),
    ("wait_for(THING)", "wait until a plant or an animal has become this"),
    ("wait1(5)", "wait for so many moments, 1 to 5"),
    ("build_circuit(PART, PART)", "connect a power source with a part by wires"),
    ("activate(THING)", "switch it on"),
    ("time_slide(PLANE)", "let a block slide down an inclined plane against the stopwatch"),
    ("use(TOOL, THING)", "use a tool such as a shovel or an axe on something"),
    ("read(THING)", "read a note or a recipe"),
)
_SYSTEM: Final = """\
You plan for an agent in ScienceWorld, a text game in which science tasks are carried out in a house with the rooms \
art studio, bathroom, bedroom, foundry, greenhouse, hallway, kitchen, living room, outside and workshop. You write \
down all sub-goals at once, before the agent's first action; the agent then carries them out in this order.

The agent knows these kinds of sub-goals; what stands in capitals is the name of a thing or a room:
{kinds}

Rules
- Call things as the task and the descriptions call them, in lower case.
- What a room holds is only seen there: where you do not know, go where such a thing usually is.
- Answer with the numbered list alone, one sub-goal a line."""
_QUESTION: Final = "Task: {task}\n\n{look}\n\n{inventory}"

EXAMPLE: Final = (
    AgentState(
        task="Your task is to boil water. For compounds without a boiling point, combusting the substance is also "
        "acceptable. First, focus on the substance. Then, take actions that will cause it to change its state of "
        "matter.",
        look="This room is called the hallway. In it, you see: \n\tthe agent\n\ta substance called air\n\ta picture\n"
        "You also see:\n\tA door to the art studio (that is open)\n\tA door to the bedroom (that is open)\n"
        "\tA door to the greenhouse (that is open)\n\tA door to the kitchen (that is open)\n"
        "\tA door to the living room (that is open)\n\tA door to the workshop (that is open)",
        inventory="In your inventory, you see:\n\tan orange",
    ),
    (
        "navigate_to(kitchen)",
        "open(cupboard)",
        "pick_up(metal pot)",
        "navigate_to(foundry)",
        "fill(metal pot, water)",
        "focus_on(water)",
        "pick_up(metal pot)",
        "open(blast furnace)",
        "heat(metal pot, blast furnace)",
        "wait1(5)",
    ),
)
"""How an episode begins and the plan that solves it: boil water, a training variation, annotated by rule."""

_THOUGHT: Final = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL)
_SUBGOAL: Final = re.compile(
    r"""(?:^|\s)\d+\s*[-.):]+[\s*`]*        # a number, perhaps with Markdown's emphasis after it
        ([A-Za-z]\w*)                       # a name
        \(((?:[^()\n]|\([^()\n]*\))*)\)     # and its arguments, which may hold parentheses themselves
    """,
    re.VERBOSE | re.MULTILINE,
)


class Planner(Protocol):
    """A large model that is asked for plans; `waymark.clients.chat.ChatClient` is the real one. Raises ServiceError."""

    async def ask(self, messages: Sequence[Message]) -> Answer:
        """What it says to a conversation."""
        ...


async def ask_plan(planner: Planner, state: AgentState, count: Callable[[Usage], None]) -> list[str]:
    """The sub-goals of a whole episode; `count` is told what asking took.

    Raises PlannerFailed when there is no answer, PlanUnreadable when there is none that holds a plan.
    """
    try:
        answer = await planner.ask(conversation(state))
    except ServiceError as error:
        raise PlannerFailed(f"No plan was to be had: {error.message}", remedy=error.remedy) from error
    count(Usage(prompt_tokens=answer.prompt_tokens or 0, completion_tokens=answer.completion_tokens or 0))
    plan = read(answer.text)
    if plan:
        return plan[:LONGEST_PLAN]
    said = " ".join(answer.text.split())[:_SHOWN]
    raise PlanUnreadable(
        f"The planner's answer holds no numbered sub-goals: {said!r} (it ended with {answer.finish_reason}).",
        remedy="Name a model that follows the form, or one that has more tokens to answer with.",
    )


def conversation(state: AgentState) -> list[Message]:
    """The system message, the worked example, and the question about this state."""
    kinds = "\n".join(f"- {form}: {meaning}" for form, meaning in _KINDS)
    example, plan = EXAMPLE
    return [
        {"role": "system", "content": _SYSTEM.format(kinds=kinds)},
        {"role": "user", "content": _asked(example)},
        {"role": "assistant", "content": written(plan)},
        {"role": "user", "content": _asked(state)},
    ]


def written(plan: Sequence[str]) -> str:
    """A plan as the model is to write it."""
    return "\n".join(f"{number}. {subgoal}" for number, subgoal in enumerate(plan, start=1))


def read(text: str) -> list[str]:
    """The numbered sub-goals of an answer, whatever stands around them; empty if there are none.

    What a model thought aloud does not count, nor does a sub-goal that only says that the task is complete.

    >>> read("Sure! 1. navigate_to(kitchen) 2- **fill(pot,Water)**")
    ['navigate_to(kitchen)', 'fill(pot, water)']
    """
    found = (
        f"{name}({', '.join(_arguments(rest))})".lower() for name, rest in _SUBGOAL.findall(_THOUGHT.sub("", text))
    )
    return [subgoal for subgoal in found if subgoal != COMPLETE and len(subgoal) <= _LONGEST_SUBGOAL]


def _arguments(text: str) -> list[str]:
    return [argument for part in text.split(",") if (argument := " ".join(part.strip(" '\"`").split()))]


def _asked(state: AgentState) -> str:
    return _QUESTION.format(task=state.task, look=state.look.strip(), inventory=state.inventory.strip())
