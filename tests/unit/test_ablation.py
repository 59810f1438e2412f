"""The ablation of rules: what is played, what is kept, what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.ablation import ALL, NONE, Kept, Part, Played, play_all, report, request_of, rules_without
from tests.samples import result
from waymark.agent.named_agents import AGENTS
from waymark.contracts import EpisodeError, EvaluationRequest, Limits, RuleUse
from waymark.errors import InvalidInput
from waymark.evaluation.requested_episodes import episodes
from waymark.worlds.registry import agent_world

CHOSEN = {"1-1": {"water": [0, 1], "ice": [4]}, "4-2": {"chair": [0], "bed": [2]}}
SETTINGS = {"fold": 0, "repeats": 2}
WORTH = {ALL: 0, NONE: 40, "well-formed": 10, "in-sight": 0}


class Player:
    """Plays at once: 80 points with all rules, less by what an arm is worth; ice is worth 10 more."""

    def __init__(self, stops_after: int = 1_000) -> None:
        self.asked: list[Part] = []
        self._left = stops_after

    def __call__(self, wanted: Sequence[tuple[Part, EvaluationRequest]]) -> Iterator[Played]:
        for part, request in wanted:
            if not self._left:
                raise KeyboardInterrupt
            self._left -= 1
            self.asked.append(part)
            scores = {variation: [self._score(part.arm, variation)] * 2 for variation in request.variations or ()}
            yield Played(part, scores, {"well-formed": 3, "in-sight": 5} if part.arm == ALL else {}, 0)

    def _score(self, arm: str, variation: int) -> float:
        return 80.0 - WORTH[arm] - (10 if variation == 4 and arm != ALL else 0)


def play(kept: Kept, player: Player, arms: Sequence[str] | None = None) -> None:
    play_all(kept, ["hierarchical"], arms, CHOSEN, 2, 100, player)


def test_rules_without_one_all_or_none_are_listed() -> None:
    names = {rule.name for rule in agent_world("scienceworld").rules}
    assert rules_without(ALL) is None
    assert rules_without(NONE) == ()
    assert set(rules_without("well-formed") or ()) == names - {"well-formed"}


def test_a_part_plays_training_variations_as_often_as_asked() -> None:
    request = request_of(AGENTS["flat"], Part("flat", "well-formed", "1-1"), CHOSEN, 3, 100)
    specs = episodes("id", request)
    assert sorted({spec.variation for spec in specs}) == [0, 1, 4]
    assert len(specs) == 9
    assert request.agent.executor_model == "flat"
    assert "well-formed" not in (request.agent.rules or ())
    assert specs[0].limits == Limits(moves=100, turns=200, patience=50)
    assert (
        request_of(AGENTS["hierarchical"], Part("hierarchical", ALL, "4-2"), CHOSEN, 1, 100).limits == specs[0].limits
    )


def test_only_rules_that_acted_are_taken_away(tmp_path: Path) -> None:
    player = Player()
    play(Kept(tmp_path, SETTINGS), player)
    assert list(dict.fromkeys(part.arm for part in player.asked)) == [ALL, NONE, "in-sight", "well-formed"]


def test_a_rule_is_taken_away_only_where_it_acted(tmp_path: Path) -> None:
    class RiskOnlyInOne(Player):
        def __call__(self, wanted: Sequence[tuple[Part, EvaluationRequest]]) -> Iterator[Played]:
            for played in super().__call__(wanted):
                acted = {"well-formed": 3} if (played.part.arm, played.part.task) == (ALL, "4-2") else {}
                yield Played(played.part, played.scores, acted, 0)

    kept, player = Kept(tmp_path, SETTINGS), RiskOnlyInOne()
    play(kept, player, ["well-formed"])
    assert [part.task for part in player.asked if part.arm == "well-formed"] == ["4-2"]
    (row,) = [
        row for row in report(kept, ["hierarchical"], CHOSEN)["agents"]["hierarchical"] if row["arm"] == "well-formed"
    ]
    assert row["tasks"] == {"1-1": 80, "4-2": 70}
    assert row["worth"] == 5


def test_finished_parts_are_not_played_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        play(Kept(tmp_path, SETTINGS), Player(stops_after=3))
    with (tmp_path / "parts.jsonl").open("a") as file:
        file.write('{"part": {"agent": "hier')  # what a kill leaves
    player = Player()
    play(Kept(tmp_path, SETTINGS), player, [NONE])
    assert player.asked == [Part("hierarchical", NONE, "4-2")]
    assert len(Kept(tmp_path, SETTINGS).played) == 4


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    Kept(tmp_path, SETTINGS)
    with pytest.raises(InvalidInput, match="other fold"):
        Kept(tmp_path, SETTINGS | {"fold": 1})


def test_the_report_says_what_each_rule_is_worth(tmp_path: Path) -> None:
    kept = Kept(tmp_path, SETTINGS)
    play(kept, Player())
    document = report(kept, ["hierarchical", "flat"], CHOSEN)
    rows = {row["arm"]: row for row in document["agents"]["hierarchical"]}
    assert set(document["agents"]) == {"hierarchical"}
    assert rows[ALL]["mean"] == 80
    assert rows["well-formed"]["worth"] == pytest.approx((40 / 3 + 10) / 2)
    assert rows[NONE]["tasks"] == {"1-1": pytest.approx((40 + 40 + 30) / 3), "4-2": 40}
    assert rows["in-sight"]["worth_ci95"][0] == 0 < rows["in-sight"]["worth_ci95"][1]
    assert (rows["well-formed"]["turns_acted"], rows["in-sight"]["turns_acted"]) == (6, 10)
    assert document["single_things"] == 0


def test_errored_episodes_score_zero_and_rule_uses_are_summed() -> None:
    fine = result("a", variation=0, score=60).model_copy(update={"rules": (RuleUse(rule="well-formed", turns=2),)})
    errored = result("b", variation=0, error=EpisodeError(kind="environment_fault", message="died"))
    played = Played.of(Part("flat", ALL, "1-1"), [fine, errored.model_copy(update={"repeat": 1})])
    assert (played.scores, played.rules, played.errors) == ({0: [60.0, 0.0]}, {"well-formed": 2}, 1)
