"""The environment port: what an episode needs of a text environment, and nothing more.

`ScienceWorldSlot` (in `scienceworld.py`, the only import of that package) is the real one;
`ScriptedEnvironment` plays a small fixed world for tests and for trying the API without Java.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from waymark.contracts import AgentState, Opening, Role

SOLVED: Final = 100
"""The score of a solved episode."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one action did. `look` and `inventory` are those after the action."""

    observation: str
    look: str
    inventory: str
    score: int
    """Raw score after the action, -100 to 100."""
    moves: int
    """Simulator moves since the episode began; an action may count 0, 1, 2 or 11 of them."""
    completed: bool
    """The simulator says that the task is over, solved or failed."""
    known: bool
    """False when the environment did not understand the action; nothing happened then."""
    ambiguous: bool = False
    """The environment asked which of several readings was meant, and reading 0 was taken."""


class Environment(Protocol):
    """A text environment that plays one episode at a time.

    Methods raise EnvironmentFault when the simulator hangs, dies or refuses, or reports an error as text, which never
    becomes an observation; the object must then be closed and replaced.
    """

    def reset(self, task_id: str, variation: int, simplifications: str) -> Opening:
        """Begin an episode. `task_id` as in `waymark.worlds.scienceworld.tasks`; `simplifications` as in
        `waymark.worlds.scienceworld.simplifications`.

        Raises InvalidInput for a task, variation or simplification that there is not.
        """
        ...

    def gold_path(self, task_id: str, variation: int, simplifications: str) -> list[str]:
        """The actions of the environment's own solution. Slow; ends the episode under way: call `reset` next."""
        ...

    def step(self, action: str) -> Step:
        """Take one action, a string of the environment."""
        ...

    def valid_actions(self) -> list[str]:
        """Every action that the environment would accept now, `reset task` excluded. Slow: a few steps' time."""
        ...

    def close(self) -> None:
        """End the simulator. Idempotent."""
        ...


# --- prompts ---------------------------------------------------------------------------------------------


class PromptFormat(Protocol):
    """One way of writing states and decisions."""

    @property
    def name(self) -> str:
        """What cards call it."""
        ...

    @property
    def history_turns(self) -> int:
        """How many of the last turns a prompt shows; more need not be sent."""
        ...

    def render(self, role: Role, state: AgentState) -> str:
        """The model's input for a state."""
        ...

    def target(self, role: Role, decision: str | None) -> str:
        """The model's output for a decision: a sub-goal, an environment's action, or None (the sub-goal ended)."""
        ...

    def parse(self, role: Role, text: str) -> str | None:
        """The decision that a text stands for: the inverse of `target`.

        Raises UnparsableAction when the text stands for none.
        """
        ...
