"""Offline scores: what counts as right, whose sub-goals an executor is given, and how shares are summed up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.oracle import one_of_each_task, rule_annotations
from training.datasets import examples
from training.exact_matches import matches
from training.offline_score import Contestant, opened, score, table
from training.trajectories import Trajectory
from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.worlds.registry import get_format

FORMAT = get_format("compact")
CHOSEN = [path for path in one_of_each_task() if path.task_id in ("1-1", "4-2", "7-1")]


def unheard(title: str, done: int, total: int) -> None:
    """Nobody watches."""


def contestant(role: Role, answer: Callable[[str], str]) -> Contestant:
    generator = ScriptedGenerator(lambda prompt: [(answer(prompt), -1.0)])
    return Contestant(role, role, FORMAT, generator, {})


def oracle(role: Role, paths: list[Trajectory] = CHOSEN) -> Contestant:
    """Answers what the dataset says, and nothing to any other prompt."""
    corpus = examples(paths, rule_annotations(paths), role, FORMAT)
    known = {example.prompt: example.target for example in corpus}
    return contestant(role, lambda prompt: known.get(prompt, ""))


def detoured(trajectory: Trajectory) -> Trajectory:
    """The same path with its first sub-goal taken for a detour."""
    first = rule_annotations([trajectory])[trajectory.key].segments[0]
    steps = [replace(step, detour=place < first.stop) for place, step in enumerate(trajectory.steps)]
    return replace(trajectory, steps=steps)


@pytest.mark.parametrize("role", ["controller", "first", "flat"])
def test_oracle_answers_score_100_percent(role: Role) -> None:
    (scored,) = score([oracle(role)], CHOSEN, rule_annotations(CHOSEN), unheard)
    assert scored.matches.overall.exact_match == scored.matches.task_mean.exact_match == 1.0
    assert set(scored.matches.tasks) == {"1-1", "4-2", "7-1"}
    assert scored.subgoals is None


@pytest.mark.parametrize("paths", [CHOSEN, [detoured(path) for path in CHOSEN]])
def test_predicted_subgoals_that_are_the_oracles_change_nothing(paths: list[Trajectory]) -> None:
    agents = [oracle("executor", paths), oracle("controller", paths)]
    controller, oracles, predicted = score(agents, paths, rule_annotations(paths), unheard)
    assert controller.matches.overall.exact_match == 1.0
    assert (oracles.subgoals, predicted.subgoals) == ("oracle", "predicted")
    assert predicted.controller == "controller"
    assert oracles.matches == predicted.matches


def test_an_executor_reads_what_the_controller_answered() -> None:
    read: list[str] = []

    def act(prompt: str) -> str:
        read.append(prompt)
        return "end"

    agents = [contestant("executor", act), contestant("controller", lambda prompt: "find wumpus")]
    _, oracles, predicted = score(agents, CHOSEN, rule_annotations(CHOSEN), unheard)
    assert sum(prompt.startswith("find wumpus |") for prompt in read) == predicted.matches.overall.decisions
    assert oracles.matches.overall == predicted.matches.overall  # `end` is as right as before
    assert 0 < oracles.matches.overall.exact_match < 1


def test_long_paths_weigh_more_only_in_the_overall_mean() -> None:
    shares = matches({"1-1": {14: [True] * 9}, "4-2": {150: [False]}})
    assert shares.overall.exact_match == 0.9
    assert shares.task_mean.exact_match == 0.5
    assert (shares.overall.decisions, shares.overall.variations) == (10, 2)


def test_intervals_resample_whole_variations_and_need_three() -> None:
    alike = matches({"1-1": {number: [True, False] for number in range(3)}})
    assert alike.overall.ci95 == alike.tasks["1-1"].ci95 == (0.5, 0.5)
    unlike = matches({"1-1": {0: [True, True], 1: [False, False], 2: [True, False]}})
    assert unlike.overall.ci95 is not None
    low, high = unlike.overall.ci95
    assert low < 0.5 < high
    assert matches({"1-1": {0: [True], 1: [False]}}).overall.ci95 is None


def test_a_run_must_say_its_role(tmp_path: Path) -> None:
    run = tmp_path / "attempt"
    (run / "best").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="does not say its role") as refused, opened([run], "ctranslate2"):
        pass
    assert refused.value.field == "role"


def test_executors_are_scored_with_the_controller_of_their_folder() -> None:
    agents = [
        replace(oracle(role), name=f"{folder}/{role}")
        for folder in ("checkpoints", "checkpoints/causal")
        for role in ("executor", "controller")
    ]
    agents.append(replace(oracle("flat"), name="flat"))
    scores = score(agents, CHOSEN, rule_annotations(CHOSEN), unheard)
    assert [(scored.checkpoint, scored.controller) for scored in scores if scored.controller] == [
        ("checkpoints/executor", "checkpoints/controller"),
        ("checkpoints/causal/executor", "checkpoints/causal/controller"),
    ]
    assert [column.header for column in table(scores).columns] == [
        "task",
        "controller\n",
        "causal/controller\n",
        "executor\nwith the oracle",
        "executor\nwith controller",
        "causal/executor\nwith the oracle",
        "causal/executor\nwith causal/controller",
        "flat\n",
    ]
