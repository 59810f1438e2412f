"""An agent: its state before a decision, and its configuration."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from waymark.contracts.base import Contract, Name, Phrase, Score, Text

MOST_TURNS: Final = 1_000
"""Largest number of turns of a state."""
MOST_ROOMS: Final = 200
"""Largest number of visited rooms of a state."""
MOST_SUBGOALS: Final = 1_000
"""Largest number of completed sub-goals of a state."""


class Turn(Contract):
    """One turn of the loop: an action and its result, or the end of a sub-goal."""

    action: Phrase | None
    """A string of the environment, e.g. `pick up thermometer`; null when the executor ended its sub-goal."""
    observation: Text
    """The environment's answer to the action. For an ended sub-goal it is the last answer again."""
    reward: Annotated[int, Field(ge=-200, le=200)] = 0
    """Change of the score, in points of 100."""

    @property
    def acted(self) -> str:
        """The action; empty for an ended sub-goal."""
        return self.action or ""


class AgentState(Contract):
    """Everything that an agent knows before it decides. A service renders it in its checkpoint's prompt format."""

    task: Annotated[str, StringConstraints(min_length=1, max_length=4_000)]
    """The task description."""
    look: Text
    """The present answer of `look around`."""
    inventory: Text = ""
    """The present answer of `inventory`."""
    observation: Text = ""
    """The environment's answer to the last action."""
    score: Score = 0
    """In points; 100 means solved. Some worlds give negative scores for a fatal mistake."""
    step: Annotated[int, Field(ge=1)] = 1
    """The number of the next turn, from 1; turns that are not sent count too."""
    turns: Annotated[tuple[Turn, ...], Field(max_length=MOST_TURNS)] = ()
    """Oldest first. Send at least the last `history_turns` of `/info`."""
    visited_rooms: Annotated[tuple[Phrase, ...], Field(max_length=MOST_ROOMS)] = ()
    """Each room once, in the order of the first visit. If there are more than 200, the first 200."""
    named_rooms: Annotated[tuple[Phrase, ...], Field(max_length=MOST_ROOMS)] | None = None
    """The visited rooms by the published rule, for the prompts of `seed`: rooms that the answer to a walk (`You move to
    the kitchen.`) or a look (`This room is called …`) names. Null: the same as `visited_rooms`."""
    completed_subgoals: Annotated[tuple[Phrase, ...], Field(max_length=MOST_SUBGOALS)] = ()
    """The sub-goals given before the current one, oldest first. If there are more than 1,000, the last 1,000."""
    current_subgoal: Phrase | None = None
    """The last sub-goal given."""
    subgoal_step: Annotated[int, Field(ge=1)] | None = None
    """The `step` at which the current sub-goal was given; `step - subgoal_step` actions were taken since. Null: not
    known, or the sub-goal has ended."""
    ended_subgoals: Annotated[int, Field(ge=0)] = 0
    """Number of turns so far that ended a sub-goal (their `action` is null), including turns that are not sent."""


SubgoalSource = Literal["controller", "oracle", "random", "semi_random", "llm_plan", "none"]
Policy = Literal["guided", "published", "oracle_actions"]
RepairName = Literal["executor", "similarity"]


class AgentConfig(Contract):
    """The configuration of an agent."""

    subgoals: SubgoalSource = "controller"
    """The source of sub-goals: the `controller`; the rule annotator on the simulator's own path (`oracle`); the
    training data, at random by the seed (`random`); the controller's with other arguments (`semi_random`); a plan of a
    large model, made at the start (`llm_plan`, if the env-runner has a planner). `none` is the flat agent."""
    controller_calls: Literal["on_end", "every_step"] = "on_end"
    """When the controller is asked: when the executor has ended the last sub-goal (`on_end`), or at every step
    (`every_step`, as published)."""
    controller_model: Name = "default"
    """Name of a checkpoint that the controller has loaded."""
    executor_model: Name = "default"
    """Name of a checkpoint that the executor has loaded; for the flat agent one of role `flat`."""
    policy: Policy = "guided"
    """How the models' answers are used: `guided` applies Waymark's rules of play; `published` takes the best answer as
    it is, like the published loop (docs/reference/published-method.md); `oracle_actions` asks no model and takes the
    actions of the simulator's own path."""
    beams: Annotated[int, Field(ge=1, le=16)] = 1
    """Beam width of every question to both models; 1 is greedy decoding. The published loop used 5."""
    repair: bool = True
    """Replace actions that the environment does not know by valid ones, as `repair_by` says."""
    repair_by: RepairName = "executor"
    """How an unknown action is replaced: by the valid action that the executor prefers (`executor`), or, as published,
    by the valid action that shares most words with the proposed one (`similarity`)."""

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
