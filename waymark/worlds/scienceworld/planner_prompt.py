"""The prompt with which a large model plans a whole episode of ScienceWorld: the published LLM-planner baseline."""

from __future__ import annotations

from typing import Final

from waymark.agent.world_port import PlanPrompt
from waymark.contracts import AgentState

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

PLAN_PROMPT: Final = PlanPrompt(
    system=_SYSTEM.format(kinds="\n".join(f"- {form}: {meaning}" for form, meaning in _KINDS)),
    example=AgentState(
        task="Your task is to boil water. For compounds without a boiling point, combusting the substance is also "
        "acceptable. First, focus on the substance. Then, take actions that will cause it to change its state of "
        "matter.",
        look="This room is called the hallway. In it, you see: \n\tthe agent\n\ta substance called air\n\ta picture\n"
        "You also see:\n\tA door to the art studio (that is open)\n\tA door to the bedroom (that is open)\n"
        "\tA door to the greenhouse (that is open)\n\tA door to the kitchen (that is open)\n"
        "\tA door to the living room (that is open)\n\tA door to the workshop (that is open)",
        inventory="In your inventory, you see:\n\tan orange",
    ),
    plan=(
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
"""It contains the opening of an episode and the plan that solves it: boil water, a training variation, annotated by
rule."""
