"""What a result was made with: this program's commit, the environment, and the checkpoints that its agent asks.

The app names it in an evaluation when that is submitted; a worker names it in every result, as it finds it when it
plays.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from services.env_runner.environments import EnvironmentName, environment_version
from waymark import __version__
from waymark.contracts import AgentConfig, CheckpointInfo, Role, ServiceInfo, Versions
from waymark.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Provenance:
    """What stays the same as long as a process of the env-runner lives."""

    environment: str
    """With its version, e.g. `scienceworld 1.2.3`."""
    commit: str | None
    """Of the checkout that this runs from; None outside of one."""

    @classmethod
    def here(cls, environment: EnvironmentName) -> Self:
        """Of this process."""
        return cls(environment_version(environment), _commit())

    def versions(self, agent: AgentConfig, controller: ServiceInfo, executor: ServiceInfo) -> Versions:
        """What an agent is played with. Raises InvalidInput for a checkpoint that is absent or of another role."""
        flat = agent.subgoals == "none"
        asked = None if flat else _find(controller, agent.controller_model, "controller", "agent.controller_model")
        return Versions(
            waymark=__version__,
            commit=self.commit,
            environment=self.environment,
            controller=asked,
            executor=_find(executor, agent.executor_model, "flat" if flat else "executor", "agent.executor_model"),
        )


def _find(info: ServiceInfo, name: str, role: Role, field: str) -> CheckpointInfo:
    fitting = [one.model for one in info.checkpoints if one.role == role]
    remedy = f"Of role {role} it has loaded: {', '.join(fitting) or 'none'}."
    for one in info.checkpoints:
        if one.model == name:
            if one.role != role:
                raise InvalidInput(
                    f"Checkpoint {name!r} of the {info.service} was trained as {one.role}, not as {role}.",
                    remedy=remedy,
                    field=field,
                )
            return one
    raise InvalidInput(f"The {info.service} has no checkpoint {name!r}.", remedy=remedy, field=field)


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
