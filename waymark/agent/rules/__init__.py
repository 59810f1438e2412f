"""Rules of play: named values that an agent may use, each a small object.

A rule says in its docstring what it knows, when it acts, and what it may change. `AgentConfig.rules` names those that
an agent uses; each turn records those that acted (`TurnRecord.rules`). A rule acts when it asks a model again, refuses
its best answer, ends a sub-goal, or changes an action. A rule that only checks and changes nothing has not acted.

Four kinds of rules exist, by what they may change: `SubgoalRule`, `ActionRule`, `EndRule` and `ReplacementRule`. A
world adds rules of its own (`AgentWorld.rules`); the order of that tuple is the order in which rules of
one kind are applied.

    kinds          the interface of each kind
    generic_rules  the rules that need no knowledge of a world
    rule_set       the rules that one agent uses
"""

from waymark.agent.rules.generic_rules import (
    GENERIC,
    NoRepeatAction,
    NoRepeatSubgoal,
    WellFormed,
    generic_rules,
)
from waymark.agent.rules.kinds import (
    ActionRule,
    Alternative,
    Choice,
    EndRule,
    ProposedAction,
    ReplacementRule,
    Rule,
    SubgoalRule,
)
from waymark.agent.rules.rule_set import ALL_RULES, NO_RULES, RuleSet, check_rules, parse_rules, rules_of

__all__ = [
    "ALL_RULES",
    "GENERIC",
    "NO_RULES",
    "ActionRule",
    "Alternative",
    "Choice",
    "EndRule",
    "NoRepeatAction",
    "NoRepeatSubgoal",
    "ProposedAction",
    "ReplacementRule",
    "Rule",
    "RuleSet",
    "SubgoalRule",
    "WellFormed",
    "check_rules",
    "generic_rules",
    "parse_rules",
    "rules_of",
]
