"""Whatever is sent, a service answers in good order: no 500, no hang, nothing that its document does not say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.env_runner.app import create_app as create_runner
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.settings import Settings
from tests.samples import result
from tests.serving import served, service_app
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.clients.services import ControllerClient, ExecutorClient, SyncEvaluationClient
from waymark.contracts import AgentState, EpisodeResult, EvaluationRequest, Role
from waymark.inference.engines.scripted import ScriptedGenerator, trial_policy
from waymark.worlds.registry import get_format

# Statuses that a document names are all right, so also 503 and 504; it names no 500.
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
TIMEOUT = 30.0
small = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def policy(role: Role) -> ScriptedGenerator:
    return ScriptedGenerator(trial_policy(role, get_format("compact")))


@pytest.fixture(scope="module")
def controller_url() -> Iterator[str]:
    with served(service_app("controller", default=policy("controller"), first=policy("first"))) as url:
        yield url


@pytest.fixture(scope="module")
def executor_url() -> Iterator[str]:
    with served(service_app("executor", default=policy("executor"), flat=policy("flat"))) as url:
        yield url


@pytest.fixture(scope="module")
def runner(
    controller_url: str, executor_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, EpisodeResult]]:
    """The address of an env-runner, and the one result of the one evaluation that it has."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        store = JobStore(redis.url)
        chosen = Settings(environment="scripted", runs=tmp_path_factory.mktemp("runs"))
        controller, executor = ControllerClient(controller_url), ExecutorClient(executor_url)
        with served(create_runner(chosen, store, controller, executor, Provenance("scripted", None))) as url:
            SyncEvaluationClient(url).submit(EvaluationRequest(tasks=("1-1",)))
            lease = store.lease("worker", wait_seconds=0)
            assert lease is not None
            played = result(lease.spec.id, evaluation=lease.spec.evaluation)
            assert store.commit(lease, played)
            yield url, played
        store.close()


def fuzz(url: str, **known: str) -> None:
    """Send what every operation's schema allows, and what it does not, and hold the answers to the document.

    Every other time parameters of paths are those that are `known`.
    """
    turns = itertools.cycle([known, {}])

    def call(case: Case[Any]) -> None:
        case.path_parameters.update(
            {name: value for name, value in next(turns).items() if name in case.path_parameters}
        )
        case.call_and_validate(checks=CHECKS, timeout=TIMEOUT)

    for operation in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        assert isinstance(operation, Ok)
        cases = [operation.ok().as_strategy(generation_mode=mode) for mode in GenerationMode]
        small(given(st.one_of(cases))(call))()


def test_the_controller_keeps_to_its_openapi_document(controller_url: str) -> None:
    fuzz(controller_url)


def test_the_executor_keeps_to_its_openapi_document(executor_url: str) -> None:
    fuzz(executor_url)


def test_the_env_runner_keeps_to_its_openapi_document(runner: tuple[str, EpisodeResult]) -> None:
    url, played = runner
    fuzz(url, evaluation_id=played.evaluation, episode_id=played.id)


# --- states ----------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["you see:", "You also see:", "A door to the", "(that is open)", "In it, ", ":", "\n", "\t", " | ", "(containing "]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=20)), max_size=8).map("".join)
PHRASES = st.text(min_size=1, max_size=40)
TURNS = st.fixed_dictionaries({"action": PHRASES, "observation": TEXTS, "reward": st.integers(-200, 200)})
STATES = st.fixed_dictionaries(
    {"task": st.text(min_size=1, max_size=200), "look": TEXTS},
    optional={
        "inventory": TEXTS,
        "observation": TEXTS,
        "score": st.integers(-100, 100),
        "step": st.integers(min_value=1),
        "turns": st.lists(TURNS, max_size=15),
        "visited_rooms": st.lists(PHRASES, max_size=5),
        "completed_subgoals": st.lists(PHRASES, max_size=5),
        "current_subgoal": st.none() | PHRASES,
    },
)


@given(state=STATES, n=st.integers(1, 16), valid=st.none() | st.lists(PHRASES, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_state_gets_an_action_or_names_the_wrong_field(
    executor_url: str, state: dict[str, Any], n: int, valid: list[str] | None
) -> None:
    response = httpx.post(
        f"{executor_url}/v1/action", json={"state": state, "n": n, "valid_actions": valid}, timeout=TIMEOUT
    )
    if response.status_code == 422:
        assert response.json()["errors"][0]["field"]
        return
    answer = response.json()
    assert response.status_code == 200
    assert answer["ended_subgoal"] == (answer["action"] is None)
    assert valid is None or answer["action"] in valid


@given(state=STATES)
@settings(max_examples=40, deadline=None, derandomize=True)
@pytest.mark.parametrize("name", ["compact", "seed"])
@pytest.mark.parametrize("role", get_args(Role))
def test_every_format_renders_every_state(name: str, role: Role, state: dict[str, Any]) -> None:
    assert isinstance(get_format(name).render(role, AgentState.model_validate(state)), str)
