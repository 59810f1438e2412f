import pytest

from services.env_runner.provenance import Provenance, check_unchanged
from tests.samples import EXECUTOR, evaluation
from waymark.contracts import AgentConfig, CheckpointInfo, ServiceInfo, ServiceLimits, Versions
from waymark.errors import InvalidInput

CONTROLLER = EXECUTOR.model_copy(update={"role": "controller"})
FIRST = EXECUTOR.model_copy(update={"model": "first", "role": "first", "sha256": "1" * 64})


def versions(agent: AgentConfig, *controllers: CheckpointInfo) -> Versions:
    """What an agent is played with where the controller has these."""
    limits = ServiceLimits.model_validate(dict.fromkeys(ServiceLimits.model_fields, 1))
    info = ServiceInfo(
        service="controller",
        version="0",
        checkpoints=controllers,
        history_turns=10,
        max_batch=1,
        max_queue=1,
        limits=limits,
    )
    return Provenance("scripted", None).versions(agent, info, info.model_copy(update={"checkpoints": (EXECUTOR,)}))


def test_the_checkpoint_of_the_first_subgoal_is_recorded() -> None:
    named = CONTROLLER.model_copy(update={"model": "other"})
    assert versions(AgentConfig(), CONTROLLER, FIRST).first == FIRST
    assert versions(AgentConfig(), CONTROLLER).first is None
    assert versions(AgentConfig(controller_model="other"), named, FIRST).first is None
    assert versions(AgentConfig(subgoals="random"), CONTROLLER, FIRST).first is None


def test_an_evaluation_does_not_go_on_with_another_first_subgoal() -> None:
    began = evaluation().model_copy(update={"versions": versions(AgentConfig(), CONTROLLER, FIRST)})
    check_unchanged(began, versions(AgentConfig(), CONTROLLER, FIRST))
    with pytest.raises(InvalidInput, match="first sub-goal's controller"):
        check_unchanged(began, versions(AgentConfig(), CONTROLLER))
