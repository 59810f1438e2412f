"""What every world must bring that agents are trained for: the conformance suite of `TrainingWorld`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from training.annotations import annotate_by_rule
from training.load_examples import Wording
from training.trajectories import Trajectory
from training.worlds.base import RecordingRequest, TrainingWorld
from training.worlds.registry import TRAINING_WORLDS, training_world, training_world_of
from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.worlds.base import SOLVED, Environment, EnvironmentLimits
from waymark.worlds.registry import get_format

ROLES: tuple[Role, ...] = ("controller", "first", "executor", "flat")
RECORDED = {
    "scienceworld": ("4-2",),
    "textworld-express": ("coin", "twc", "mapreader", "arithmetic", "sorting", "simonsays", "peckingorder"),
}
"""Tasks of which one variation is recorded, with a changed take."""


@pytest.fixture(scope="module", params=TRAINING_WORLDS)
def trained(request: pytest.FixtureRequest) -> TrainingWorld:
    return training_world(request.param)


@pytest.fixture(scope="module")
def paths(trained: TrainingWorld) -> Iterator[list[Trajectory]]:
    environment: Environment = trained.world.open(EnvironmentLimits())
    recording = trained.recording(RecordingRequest(limit=1, takes=1, misplaced=0))
    tasks = [trained.world.find_task(name) for name in RECORDED[trained.name]]
    wanted = recording.plan(["train"], tasks)
    assert [variation.task_id for variation in wanted] == list(RECORDED[trained.name])
    yield [path for variation in wanted for path in recording.record(environment, variation)]
    environment.close()


def test_recorded_paths_and_their_takes_reach_the_full_score(trained: TrainingWorld, paths: list[Trajectory]) -> None:
    assert all(path.score == SOLVED for path in paths)
    assert {path.task_id for path in paths if not path.take} == set(RECORDED[trained.name])
    assert any(path.take for path in paths)
    assert training_world_of(path.task_id for path in paths) is trained


def test_every_role_has_examples_of_recorded_paths(trained: TrainingWorld, paths: list[Trajectory]) -> None:
    annotations = {path.key: annotate_by_rule(path) for path in paths}
    for role in ROLES:
        form = get_format(trained.default_format(role, as_published=False))
        assert form in trained.world.formats
        examples = Wording(role, form.name, world=trained.name).examples(paths, annotations)
        assert {example.task_id for example in examples} == set(RECORDED[trained.name])
        for example in examples:
            assert example.prompt
            decision = form.parse(role, example.target)
            assert form.target(role, decision) == example.target


def test_missing_features_of_a_world_are_refused_with_remedy(trained: TrainingWorld) -> None:
    lacking = next((source for source in ("expert", "shortened", "gold") if source not in trained.path_sources), None)
    if lacking:
        with pytest.raises(InvalidInput, match="Use one of"):
            trained.recording(RecordingRequest(paths=lacking))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="Worlds are scienceworld"):
        training_world("atlantis")
