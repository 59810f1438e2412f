"""Rules of play by name: chosen by the agent, recorded in turns, counted in results."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from tests.samples import VERSIONS, result
from tests.scripted_agent import Controller, acting, play
from tests.unit.test_golden_behaviour import PLAYED, SEEDS, digest_of, played
from waymark.agent.named_agents import AGENTS, find_agents
from waymark.agent.rules import GENERIC, generic_rules, parse_rules
from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentConfig, EvaluationRequest, RuleUse
from waymark.errors import InvalidInput
from waymark.evaluation.json_report import evaluation_json
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.scores import summarise
from waymark.evaluation.terminal_report import render
from waymark.worlds.registry import agent_world
from waymark.worlds.scienceworld.rules import RULES

pytestmark = pytest.mark.anyio
NAMES = [rule.name for rule in RULES]


def test_every_rule_says_what_it_knows_and_when_it_acts() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for rule in RULES:
        assert rule.__doc__, rule
        assert "Acts " in rule.__doc__, rule


async def test_the_golden_episodes_make_every_rule_act() -> None:
    acted: Counter[str] = Counter()
    for name in ("hierarchical", "flat", "by_similarity"):
        for seed in SEEDS:
            episode, _ = await played(PLAYED[name], seed)
            acted.update({use.rule: use.turns for use in episode.rules})
    assert set(acted) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
async def test_a_rule_that_is_left_out_never_acts(name: str) -> None:
    agents = {"repair-similarity": "by_similarity"}
    agent = PLAYED[agents.get(name, "hierarchical")]
    without = agent.model_copy(update={"rules": tuple(sorted(set(NAMES) - {name}))})
    for seed in SEEDS:
        all_rules, fewer = await played(agent, seed), await played(without, seed)
        assert all(name not in turn.rules for turn in fewer[0].trajectory)
        acted = any(name in turn.rules for turn in all_rules[0].trajectory)
        if acted and digest_of(*all_rules) != digest_of(*fewer):
            return
    pytest.fail(f"{name} never changed an episode")


@pytest.mark.parametrize("name", ["hierarchical", "every_step", "flat"])
async def test_without_rules_the_best_answers_are_followed(name: str) -> None:
    for seed in SEEDS:
        episode, asked = await played(PLAYED[name].model_copy(update={"rules": ()}), seed)
        assert not episode.rules
        assert all(not turn.rules and not turn.repaired for turn in episode.trajectory)
        assert {line.split()[1] for line in asked} == {"1"}
        assert all(turn.action == turn.proposed for turn in episode.trajectory if turn.proposed and turn.known)


async def test_without_rules_complete_task_is_a_subgoal_like_any_other() -> None:
    controller = Controller([["complete_task()", "a"]])
    episode = await play(acting("look around"), controller, AgentConfig(rules=()), turns=1)
    assert (episode.trajectory[0].subgoal, episode.trajectory[0].action) == ("complete_task()", "look around")


async def test_the_published_loop_uses_no_rule_but_its_replacement() -> None:
    acted: set[str] = set()
    for seed in SEEDS:
        episode, _ = await played(AGENTS["published"].model_copy(update={"rules": tuple(NAMES)}), seed)
        acted.update(use.rule for use in episode.rules)
    assert acted == {"repair-similarity"}


async def test_an_episode_counts_the_turns_in_which_each_rule_acted() -> None:
    episode, _ = await played(AgentConfig(), 0)
    turns = Counter(name for turn in episode.trajectory for name in turn.rules)
    assert {use.rule: use.turns for use in episode.rules} == turns
    assert episode.without_trajectory().rules == episode.rules
    assert all(len(set(turn.rules)) == len(turn.rules) for turn in episode.trajectory)


def with_uses(episode: str, **uses: int) -> Any:
    counted = tuple(RuleUse(rule=name.replace("_", "-"), turns=turns) for name, turns in uses.items())
    return result(episode).model_copy(update={"rules": counted})


def test_results_add_up_how_often_each_rule_acted() -> None:
    both = [with_uses("a", in_sight=2, circles=1), with_uses("b", in_sight=10)]
    assert summarise(both).rules == {"in-sight": 12, "circles": 1}
    document = evaluation_json("e", EvaluationRequest(), VERSIONS, both)
    assert document["summary"]["rules"] == {"in-sight": 12, "circles": 1}
    console = Console(record=True, width=200)
    console.print(render(summarise(both), EvaluationRequest(), VERSIONS))
    assert "Rules acted: in-sight 12, circles 1 (turns)." in console.export_text()


def test_results_of_older_versions_count_no_rules() -> None:
    assert summarise([result("a")]).rules == {}


# --- choosing rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("all", None),
        (" all ", None),
        ("none", ()),
        ("in-sight", ("in-sight",)),
        ("well-formed,in-sight,", ("in-sight", "well-formed")),
    ],
)
def test_rules_are_named_on_the_command_line(text: str, rules: tuple[str, ...] | None) -> None:
    assert parse_rules(text, agent_world()) == rules
    assert [agent.rules for agent in find_agents(["hierarchical,flat"], rules=text)] == [rules] * 2


@pytest.mark.parametrize("text", ["insight", "all,none", "", "in-sight,magic", "None"])
def test_an_unknown_rule_is_refused_with_the_known_names(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        find_agents(["hierarchical"], rules=text)
    assert refused.value.field == "agent.rules"
    assert all(name in str(refused.value) for name in NAMES)


@pytest.mark.parametrize("rules", [("magic",), ("in-sight", "")])
def test_an_evaluation_with_an_unknown_rule_is_refused(rules: tuple[str, ...]) -> None:
    with pytest.raises((InvalidInput, ValidationError)):
        episodes("e", EvaluationRequest(tasks=("4-2",), agent=AgentConfig(rules=rules)))


def test_order_and_repetition_of_rules_do_not_matter() -> None:
    assert AgentConfig(rules=("b", "a", "b")) == AgentConfig(rules=("a", "b"))


def test_an_old_configuration_means_all_rules() -> None:
    assert AgentConfig.model_validate_json('{"subgoals": "controller", "repair": false}').rules is None


@pytest.mark.parametrize(
    ("agent", "episode"),
    [
        (AgentConfig(), "4-2_225_f15d139107f0"),
        (AgentConfig(repair=False), "4-2_225_c6b541f19a08"),
        (AGENTS["flat"], "4-2_225_910a47a7e472"),
    ],
)
def test_episodes_of_old_configurations_keep_their_ids(agent: AgentConfig, episode: str) -> None:
    request = EvaluationRequest(tasks=("4-2",), agent=agent)
    assert episodes("e", request)[0].id == episode
    changed = request.model_copy(update={"agent": agent.model_copy(update={"rules": ()})})
    assert episodes("e", changed)[0].id != episode


async def test_without_repair_no_rule_replaces_an_action() -> None:
    replacing = {name for name in NAMES if name.startswith("repair-")}
    for seed in SEEDS:
        episode, _ = await played(AgentConfig(repair=False), seed)
        assert not replacing & {use.rule for use in episode.rules}
        assert episode.repaired == 0


# --- worlds ----------------------------------------------------------------------------------------------


class Bare(AgentWorld):
    """A world of which nothing is known."""

    name = "bare"


def test_a_world_without_own_rules_has_the_generic_ones() -> None:
    assert [rule.name for rule in generic_rules(Bare())] == [rule.name for rule in Bare().rules]
    assert {rule.name for rule in GENERIC} <= set(NAMES)


def test_an_unknown_world_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Worlds are scienceworld"):
        agent_world("atlantis")
