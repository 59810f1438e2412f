"""A whole plan by a large model, made once at the start of an episode: the published LLM-planner baseline.

The prompt lists the kinds of sub-goals that the executor knows, a worked example, the task, and the first scene. The
model answers with a numbered list. It is asked only once, even if the plan fails. The world provides the prompt
(`AgentWorld.plan_prompt`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from waymark.agent.state import COMPLETE
from waymark.agent.world_port import AgentWorld, PlanPrompt
from waymark.contracts import AgentState, Usage
from waymark.errors import InvalidInput, PlannerFailed, PlanUnreadable, ServiceError
from waymark.worlds.registry import agent_world

if TYPE_CHECKING:
    from waymark.clients.chat import Answer, Message

LONGEST_PLAN: Final = 200
"""Largest number of sub-goals. No oracle path has so many; a longer plan repeats itself."""
_LONGEST_SUBGOAL: Final = 500
_SHOWN: Final = 200
"""Characters of an unreadable answer that its error quotes."""

_QUESTION: Final = "Task: {task}\n\n{look}\n\n{inventory}"

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
        """The model's answer to a conversation."""
        ...


async def ask_plan(
    planner: Planner, state: AgentState, count: Callable[[Usage], None], world: AgentWorld | None = None
) -> list[str]:
    """The sub-goals of a whole episode; `count` receives the tokens that it took.

    Raises PlannerFailed when there is no answer, PlanUnreadable when the answer holds no plan, InvalidInput for a world
    without a prompt for plans.
    """
    world = world or agent_world()
    if world.plan_prompt is None:
        raise InvalidInput(
            f"No large model can plan in the world {world.name!r}.",
            remedy="Choose another source of sub-goals.",
            field="agent.subgoals",
        )
    try:
        answer = await planner.ask(conversation(state, world.plan_prompt))
    except ServiceError as error:
        raise PlannerFailed(f"No plan could be obtained: {error.message}", remedy=error.remedy) from error
    count(Usage(prompt_tokens=answer.prompt_tokens or 0, completion_tokens=answer.completion_tokens or 0))
    plan = read(answer.text)
    if plan:
        return plan[:LONGEST_PLAN]
    text = " ".join(answer.text.split())[:_SHOWN]
    raise PlanUnreadable(
        f"The planner's answer holds no numbered sub-goals: {text!r} (it ended with {answer.finish_reason}).",
        remedy="Name a model that follows the form, or one that has more tokens to answer with.",
    )


def conversation(state: AgentState, prompt: PlanPrompt) -> list[Message]:
    """The system message, the worked example, and the question about this state."""
    return [
        {"role": "system", "content": prompt.system},
        {"role": "user", "content": _question(prompt.example)},
        {"role": "assistant", "content": written(prompt.plan)},
        {"role": "user", "content": _question(state)},
    ]


def written(plan: Sequence[str]) -> str:
    """A plan in the form in which the model has to write it."""
    return "\n".join(f"{number}. {subgoal}" for number, subgoal in enumerate(plan, start=1))


def read(text: str) -> list[str]:
    """The numbered sub-goals in an answer; other text around them is ignored. Empty if there are none.

    Reasoning text of the model and a sub-goal that only says that the task is complete are ignored.

    >>> read("Sure! 1. navigate_to(kitchen) 2- **fill(pot,Water)**")
    ['navigate_to(kitchen)', 'fill(pot, water)']
    """
    subgoals = (
        f"{name}({', '.join(_arguments(rest))})".lower() for name, rest in _SUBGOAL.findall(_THOUGHT.sub("", text))
    )
    return [subgoal for subgoal in subgoals if subgoal != COMPLETE and len(subgoal) <= _LONGEST_SUBGOAL]


def _arguments(text: str) -> list[str]:
    return [argument for part in text.split(",") if (argument := " ".join(part.strip(" '\"`").split()))]


def _question(state: AgentState) -> str:
    return _QUESTION.format(task=state.task, look=state.look.strip(), inventory=state.inventory.strip())
