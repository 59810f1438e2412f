import pytest

from waymark.contracts import AgentConfig, EvaluationRequest, Limits
from waymark.errors import InvalidInput
from waymark.evaluation.published_comparison import published_notes
from waymark.evaluation.requested_episodes import episodes, limits_of, pinned
from waymark.worlds.registry import get_world
from waymark.worlds.scienceworld.protocols import PROTOCOLS
from waymark.worlds.scienceworld.tasks import TASKS, find_task

FLAT = AgentConfig(subgoals="none")


@pytest.mark.parametrize(
    ("protocol", "count"), [("quick", 30), ("dev", 145), ("seed", 271), ("swiftsage", 271), ("full", 1819)]
)
def test_a_protocol_has_its_number_of_episodes(protocol: str, count: int) -> None:
    specs = episodes("e", EvaluationRequest.model_validate({"protocol": protocol}))
    assert len(specs) == len({spec.id for spec in specs}) == count


def test_quick_and_dev_play_dev_variations() -> None:
    for name, protocol in PROTOCOLS.items():
        split = "dev" if name in ("quick", "dev") else "test"
        for task in TASKS:
            assert {task.split_of(variation) for variation in protocol.variations_of(task)} == {split}


def test_every_task_comes_once_before_any_comes_twice() -> None:
    specs = episodes("e", EvaluationRequest(protocol="seed"))
    assert [spec.task for spec in specs[:30]] == [task.id for task in TASKS]
    assert specs[30].variation == specs[0].variation + 1


def test_ids_follow_from_the_request_and_differ_with_it() -> None:
    def first(evaluation: str = "e", **request: object) -> str:
        return episodes(evaluation, EvaluationRequest.model_validate(request))[0].id

    assert first() == first()
    changed = [first("other"), first(seed=1), first(agent=FLAT), first(limits=Limits(moves=1, turns=1))]
    assert len({first(), *changed}) == 5


def test_turns_are_capped_at_twice_the_moves() -> None:
    for protocol in PROTOCOLS.values():
        limits = limits_of(protocol, AgentConfig())
        assert limits.turns == 2 * limits.moves


def test_the_seed_protocol_stops_flat_agents_on_repetition() -> None:
    limits = limits_of(PROTOCOLS["seed"], AgentConfig())
    assert (limits.patience, limits.repetition) == (50, None)
    limits = limits_of(PROTOCOLS["seed"], FLAT)
    assert (limits.patience, limits.repetition) == (None, 10)
    assert limits_of(PROTOCOLS["quick"], FLAT).repetition is None


def test_tasks_variations_and_limits_of_ones_own_replace_the_protocols() -> None:
    limits = Limits(moves=7, turns=9)
    request = EvaluationRequest(tasks=("boil", "1-1", "4-2"), variations=(3, 0), limits=limits)
    specs = episodes("e", request)
    assert [(spec.task, spec.variation) for spec in specs] == [("1-1", 3), ("4-2", 3), ("1-1", 0), ("4-2", 0)]
    assert all(spec.limits == limits for spec in specs)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"tasks": ["11-1"]}, "tasks"),
        ({"tasks": []}, "tasks"),
        ({"tasks": ["8-2"], "variations": [10]}, "variations"),
        ({"variations": []}, "variations"),
    ],
)
def test_unplayable_requests_are_refused_by_field(request_: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        episodes("e", EvaluationRequest.model_validate(request_))
    assert refused.value.field == field
    assert refused.value.remedy


def test_a_new_quick_run_records_that_it_plays_dev_variations() -> None:
    world = get_world("scienceworld")
    request = pinned(EvaluationRequest(), world)
    assert request.split == "dev"
    assert {find_task(spec.task).split_of(spec.variation) for spec in episodes("e", request)} == {"dev"}
    assert pinned(EvaluationRequest(protocol="seed"), world).split is None
    assert pinned(EvaluationRequest(variations=(0,)), world).split is None


def test_a_quick_run_from_before_keeps_its_test_variations() -> None:
    assert {find_task(spec.task).split_of(spec.variation) for spec in episodes("e", EvaluationRequest())} == {"test"}


@pytest.mark.parametrize(
    ("request_of", "played"),
    [
        ({"split": "dev"}, "dev"),
        ({"protocol": "dev"}, "dev"),
        ({}, ""),
        ({"protocol": "seed"}, ""),
        ({"tasks": ("4-2",), "variations": (0, 150)}, "train and dev"),
    ],
)
def test_tables_say_which_variations_stand_beside_published_figures(request_of: dict[str, object], played: str) -> None:
    world = get_world("scienceworld")
    notes = published_notes(EvaluationRequest.model_validate(request_of), world)
    own = tuple(world.published.notes)
    note = f"These scores are of {played} variations; the published figures are of test variations."
    assert notes == ((note, *own) if played else own)
