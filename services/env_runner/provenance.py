"""The provenance of a result: this program's commit, the environment, and the checkpoints that its agent asks.

The app records it in an evaluation at submission. A worker records it in every result, as it is at the time of play.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from services.env_runner.environments import environment_version
from services.env_runner.settings import Settings
from waymark import __version__
from waymark.contracts import AgentConfig, CheckpointInfo, Role, ServiceInfo, Versions
from waymark.errors import InvalidInput
from waymark.evaluation.checkpoint_identity import differences
from waymark.evaluation.git_checkout import find_checkout
from waymark.evaluation.run_folder import Evaluation


@dataclass(frozen=True, slots=True)
class Provenance:
    """The parts that do not change while a process of the env-runner runs."""

    environment: str
    """The environment with its version, e.g. `scienceworld 1.2.3`."""
    commit: str | None
    """Of the checkout that holds this code; None outside of one."""
    planner: str | None = None
    """The large model that plans episodes and where it is; None: there is none."""
    modified: bool | None = None
    """Whether the code differs from that commit; None: there is no commit."""

    @classmethod
    def here(cls, settings: Settings) -> Self:
        """The provenance of a process with these settings."""
        planner = settings.planner
        name = f"{planner.model} at {planner.address}" if planner else None
        checkout = find_checkout()
        commit, modified = (checkout.commit, checkout.modified) if checkout else (None, None)
        return cls(environment_version(settings.environment), commit, name, modified)

    def versions(self, agent: AgentConfig, controller: ServiceInfo, executor: ServiceInfo) -> Versions:
        """The versions with which an agent is played now.

        Raises InvalidInput for a checkpoint that is absent or of another role, and for a planner that there is not.
        """
        asks = agent.subgoals in ("controller", "semi_random")
        plans = agent.subgoals == "llm_plan"
        if plans and self.planner is None:
            raise InvalidInput(
                "This env-runner has no planner.",
                remedy="Set WAYMARK_PLANNER_URL and WAYMARK_PLANNER_MODEL for it and its workers, or choose another.",
                field="agent.subgoals",
            )
        role: Role = "flat" if agent.subgoals == "none" else "executor"
        return Versions(
            waymark=__version__,
            commit=self.commit,
            modified=self.modified,
            environment=self.environment,
            controller=_find(controller, agent.controller_model, "controller", "agent.controller_model")
            if asks
            else None,
            first=_first(controller) if asks and agent.controller_model == "default" else None,
            executor=_find(executor, agent.executor_model, role, "agent.executor_model"),
            planner=self.planner if plans else None,
        )


def check_unchanged(evaluation: Evaluation, now: Versions) -> None:
    """Raise InvalidInput if an evaluation would continue with another environment or other checkpoints than before.

    Another commit may continue it, because each result names its own commit.
    """
    for difference in differences(evaluation.versions, now):
        raise InvalidInput(
            f"Evaluation {evaluation.id} began with the {difference.what} {difference.expected}; "
            f"here it would continue with {difference.found}.",
            remedy="Start the services with the checkpoints that it began with, or begin a new evaluation.",
            field="evaluation_id",
        )


def _first(controller: ServiceInfo) -> CheckpointInfo | None:
    """The checkpoint that names the first sub-goal for the default one, if there is such."""
    return next((checkpoint for checkpoint in controller.checkpoints if checkpoint.model == "first"), None)


def _find(info: ServiceInfo, name: str, role: Role, field: str) -> CheckpointInfo:
    fitting = [checkpoint.model for checkpoint in info.checkpoints if checkpoint.role == role]
    remedy = f"Of role {role} it has loaded: {', '.join(fitting) or 'none'}."
    for checkpoint in info.checkpoints:
        if checkpoint.model == name:
            if checkpoint.role != role:
                raise InvalidInput(
                    f"Checkpoint {name!r} of the {info.service} was trained as {checkpoint.role}, not as {role}.",
                    remedy=remedy,
                    field=field,
                )
            return checkpoint
    raise InvalidInput(f"The {info.service} has no checkpoint {name!r}.", remedy=remedy, field=field)
