"""An agent: what it knows before it decides, and how it is put together from the two services."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from waymark.contracts.base import Contract, Name, Phrase, Score, Text

MOST_TURNS: Final = 1_000
"""Of a state."""
MOST_ROOMS: Final = 200
"""Of a state."""
MOST_SUBGOALS: Final = 1_000
"""Completed ones of a state."""


class Turn(Contract):
    """One turn of the loop: an action and what came of it, or the end of a sub-goal."""

    action: Phrase | None
    """A string of the environment, e.g. `pick up thermometer`; null when the executor ended its sub-goal."""
    observation: Text
    """The environment's answer to the action; for an ended sub-goal the last answer again."""
    reward: Annotated[int, Field(ge=-200, le=200)] = 0
    """Change of the score, in points of 100."""

    @property
    def acted(self) -> str:
        """The action; empty for an ended sub-goal."""
        return self.action or ""


class AgentState(Contract):
    """All that an agent knows before it decides. Services render it into their checkpoint's prompt format."""

    task: Annotated[str, StringConstraints(min_length=1, max_length=4_000)]
    """The task description."""
    look: Text
    """What `look around` says now."""
    inventory: Text = ""
    """What `inventory` says now."""
    observation: Text = ""
    """The environment's answer to the last action."""
    score: Score = 0
    """0 to 100; negative after a wrong focus."""
    step: Annotated[int, Field(ge=1)] = 1
    """From 1; counts all turns even when fewer are sent."""
    turns: Annotated[tuple[Turn, ...], Field(max_length=MOST_TURNS)] = ()
    """Oldest first; the last `history_turns` of `/info` suffice."""
    visited_rooms: Annotated[tuple[Phrase, ...], Field(max_length=MOST_ROOMS)] = ()
    """Each once, in the order of the first visit; of more than 200 the first."""
    named_rooms: Annotated[tuple[Phrase, ...], Field(max_length=MOST_ROOMS)] | None = None
    """The rooms as the published prompts (`seed`) list them: those that the answer to a walk names (`You move to the
    kitchen.`) or a look that says `This room is called …`. Null: the same as `visited_rooms`."""
    completed_subgoals: Annotated[tuple[Phrase, ...], Field(max_length=MOST_SUBGOALS)] = ()
    """The sub-goals given before the current one, oldest first; of more than 1,000 the last."""
    current_subgoal: Phrase | None = None
    """The last sub-goal given."""
    subgoal_step: Annotated[int, Field(ge=1)] | None = None
    """The `step` at which the current sub-goal was given: what was done since is `step - subgoal_step` actions.
    Null: not known, or the sub-goal has ended."""
    ended_subgoals: Annotated[int, Field(ge=0)] = 0
    """How many of the turns that `step` counts ended a sub-goal (those whose `action` is null), sent or not."""


SubgoalSource = Literal["controller", "oracle", "random", "semi_random", "llm_plan", "none"]
Policy = Literal["guided", "published", "oracle_actions"]
RepairName = Literal["executor", "similarity"]


class AgentConfig(Contract):
    """How an agent is put together from the two services."""

    subgoals: SubgoalSource = "controller"
    """Where sub-goals come from: the `controller`; the rule annotator on the simulator's own path (`oracle`); any of
    the training data, drawn by the seed (`random`); the controller's with other arguments (`semi_random`); a plan asked
    of a large model at the start (`llm_plan`, where the env-runner knows one). `none` is the flat agent."""
    controller_calls: Literal["on_end", "every_step"] = "on_end"
    """Ask for a sub-goal only when the executor ended the last one, or at every step (as published)."""
    controller_model: Name = "default"
    """Name of a checkpoint that the controller has loaded."""
    executor_model: Name = "default"
    """Name of one that the executor has; of role `flat` for the flat agent."""
    policy: Policy = "guided"
    """Who decides what to do with the models' answers: `guided` applies Waymark's rules of play; `published` takes the
    best answer as it is, as the published loop does (docs/reference/published-method.md); `oracle_actions` asks no
    model and takes the actions of the simulator's own path."""
    beams: Annotated[int, Field(ge=1, le=16)] = 1
    """Beam width of every question to both models; 1 is greedy decoding. The published loop used 5."""
    repair: bool = True
    """Replace actions that the environment does not know by valid ones, as `repair_by` says."""
    repair_by: RepairName = "executor"
    """What replaces an unknown action: what the executor prefers among valid ones (`executor`), or by the published
    rule the valid action that shares most words with the proposed one (`similarity`)."""

    rules: Annotated[tuple[Name, ...], Field(max_length=100, fail_fast=True)] | None = None
    """Names of the rules of play that the agent uses; null: all rules of the world; empty: none. The policy `published`
    uses none, and `repair` false leaves out those that replace actions."""

    @field_validator("rules")
    @classmethod
    def _as_a_set(cls, rules: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if rules is None else tuple(sorted(set(rules)))

    @model_validator(mode="after")
    def _fitting_sources(self) -> Self:
        if self.policy == "published" and self.subgoals not in ("controller", "none"):
            raise ValueError(
                f"the policy `published` needs the sub-goals `controller` or `none`; got {self.subgoals!r}. "
                "Choose one of these, or the policy `guided`"
            )
        if self.policy == "oracle_actions" and self.subgoals != "oracle":
            raise ValueError(f"the policy `oracle_actions` needs the sub-goals `oracle`; got {self.subgoals!r}")
        return self
