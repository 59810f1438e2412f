"""Playing a variation by hand with the agent's help: the messages, and the session.

A session is an episode like any other: the same state, the same prompts, the same record. Only a person makes the
choices. In each turn controller and executor propose five alternatives each; the person takes one of these, or types
something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from waymark.agent.running_episode import Play
from waymark.agent.usable_alternatives import decisions_of, subgoals_of
from waymark.contracts import (
    AgentConfig,
    Considered,
    Contract,
    EpisodeResult,
    Name,
    Phrase,
    Score,
    Stopped,
    Text,
    TurnRecord,
    Variation,
)
from waymark.errors import InvalidInput

ALTERNATIVES = 5
MOST_VALID = 2_000
"""Largest number of valid actions that are shown."""
BY_HAND = "-play-"
"""Part of the ids of saved sessions."""


class PlayRequest(Contract):
    """`POST /v1/play`: begin a session, or ask for the environment's own solution."""

    task: Name
    """Task id or name."""
    variation: Variation
    agent: AgentConfig = AgentConfig()
    """Source of proposed sub-goals: the `controller`, or `none`."""
    options: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        default=None, exclude_if=lambda options: options is None
    )
    """Options of the world, which checks them; null: its default."""
    simplifications: Annotated[str, StringConstraints(max_length=200)] | None = None
    """The old name of `options`; used if `options` is null."""
    oracle: bool = False
    """Only return the actions of the environment's own solution; nothing is played."""


class PlayTurn(Contract):
    """`POST /v1/play/{id}/turns`: one decision of the person."""

    kind: Literal["subgoal", "action", "end_subgoal"]
    """Follow a sub-goal (no turn is used), take an action, or end the sub-goal."""
    text: Phrase | None = None
    """The sub-goal or the action; null for `end_subgoal`."""
    turn: Annotated[int, Field(ge=1)]
    """The number of the turn that the person saw. A decision about another turn is refused, so that none is taken
    twice."""


class PlayView(Contract):
    """Answer of `GET /v1/play/{id}`: what the person sees."""

    id: str
    state: Literal["waiting", "opening", "ready", "thinking", "ended"]
    problem: str | None = None
    """Why it ended early, or why the last decision was refused."""
    task: str
    variation: int
    agent: AgentConfig
    description: str = ""
    look: Text = ""
    inventory: Text = ""
    observation: Text = ""
    score: Score = 0
    moves: int = 0
    turn: int = 1
    """The number of the next turn."""
    subgoal: str | None = None
    """The sub-goal in force; null where one has to be given first."""
    subgoals: tuple[Considered, ...] = ()
    """Sub-goals that the controller proposes, best first."""
    actions: tuple[Considered, ...] = ()
    """Actions that the executor proposes, best first."""
    valid: tuple[str, ...] = ()
    """Every action that the environment accepts now, at most 2,000."""
    turns: tuple[TurnRecord, ...] = ()
    """What was played so far, without looks and inventories."""
    completed: bool = False
    run: str | None = None
    """The run that the session was saved as; null until it has ended."""
    oracle: tuple[str, ...] = ()
    """The actions of the environment's own solution, if that was asked for."""
    seconds_left: int = 0


class HandPlay:
    """One session: an open `Play` whose decisions come from outside. Raises what `Play` raises."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._subgoals: tuple[Considered, ...] = ()
        self._actions: tuple[Considered, ...] = ()
        self._valid: tuple[str, ...] = ()
        self._proposed: str | None = None
        self._logprob: float | None = None
        self._called = False
        self._hierarchical = play.agent.subgoals != "none"

    async def open(self) -> None:
        """Begin the episode and the first turn."""
        await self._play.open()
        await self._begin_turn()

    @property
    def over(self) -> bool:
        """The environment says that the episode is over."""
        return self._play.completed

    def result(self, stopped: Stopped) -> EpisodeResult:
        """The result of the episode so far."""
        return self._play.result("completed" if self._play.completed else stopped)

    async def decide(self, decision: PlayTurn) -> None:
        """Carry out the person's decision. Raises InvalidInput if it is not possible now."""
        play, text = self._play, (decision.text or "").strip()
        if decision.turn != len(play.turns) + 1:
            raise InvalidInput(f"Turn {decision.turn} is over.", remedy="Get the session again.", field="turn")
        if decision.kind != "end_subgoal" and not text:
            raise InvalidInput("The text is empty.", remedy="Write a sub-goal or an action.", field="text")
        if decision.kind != "action" and not self._hierarchical:
            raise InvalidInput("This agent has no sub-goals.", remedy="Take an action.", field="kind")
        if decision.kind == "subgoal":
            play.fold.give_subgoal(text)
            self._called = True
            await self._ask_executor()
            return
        if self._hierarchical and play.state.subgoal_step is None:
            raise InvalidInput("No sub-goal is given.", remedy="Follow a sub-goal first.", field="kind")
        if decision.kind == "end_subgoal":
            play.ended(self._logprob, controller_called=self._called)
        else:
            step = await play.step(text)
            play.acted(
                step,
                text,
                subgoal=play.state.current_subgoal,
                controller_called=self._called,
                proposed=self._proposed,
                logprob=self._logprob,
            )
        if not play.completed:
            await self._begin_turn()

    async def _begin_turn(self) -> None:
        play = self._play
        play.begin_turn()
        self._called = False
        self._subgoals = self._actions = ()
        self._valid = tuple((await play.valid_actions())[:MOST_VALID])
        if self._hierarchical:
            answer = await play.ask_controller(play.state, n=ALTERNATIVES)
            self._subgoals = tuple(Considered(text, round(logprob, 3)) for text, logprob in subgoals_of(answer))
        if not self._hierarchical or play.state.subgoal_step is not None:
            await self._ask_executor()

    async def _ask_executor(self) -> None:
        decisions = decisions_of(await self._play.ask_executor(n=ALTERNATIVES))
        self._actions = tuple(Considered(decision.action, round(decision.logprob or 0.0, 3)) for decision in decisions)
        self._proposed, self._logprob = (decisions[0].action, decisions[0].logprob) if decisions else (None, None)

    def show(self, view: PlayView) -> PlayView:
        """The view with the present state of this session."""
        play, state = self._play, self._play.state
        return view.model_copy(
            update={
                "state": "ready",
                "description": state.task,
                "look": state.look,
                "inventory": state.inventory,
                "observation": state.observation,
                "score": state.score,
                "moves": play.turns[-1].moves if play.turns else 0,
                "turn": len(play.turns) + 1,
                "subgoal": state.current_subgoal if state.subgoal_step is not None else None,
                "subgoals": self._subgoals,
                "actions": self._actions,
                "valid": self._valid,
                "turns": _brief(play.turns),
                "completed": play.completed,
            }
        )


def _brief(turns: Sequence[TurnRecord]) -> tuple[TurnRecord, ...]:
    without = {"look": "", "inventory": "", "subgoals": (), "actions": ()}
    return tuple(turn.model_copy(update=without) for turn in turns[-200:])
