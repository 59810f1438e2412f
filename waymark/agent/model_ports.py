"""The episode loop's ports to controller and executor, and the limits of one request to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self

from waymark.contracts import ActionResponse, AgentState, ServiceInfo, SubgoalResponse


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of one request to the services. The defaults are the services' own."""

    history_turns: int = 1_000
    """Largest number of actions in a state's history; the ended sub-goals among them do not count."""
    alternatives: int = 16
    """Largest `n` of one request."""
    candidates: int = 256
    """Largest number of `valid_actions` of one request."""

    @classmethod
    def of(cls, services: Sequence[ServiceInfo]) -> Self:
        """The smallest limits of these services, from their `/info`."""
        limits = [info.limits for info in services]
        return cls(
            history_turns=min(max(info.history_turns for info in services), *(limit.turns for limit in limits)),
            alternatives=min(limit.alternatives for limit in limits),
            candidates=min(limit.candidates for limit in limits),
        )


DEFAULT_LIMITS: Final = RequestLimits()


class Controller(Protocol):
    """Names sub-goals; `waymark.clients.services.ControllerClient` is the real one. Raises ServiceError."""

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        """The `n` best next sub-goals."""
        ...


class Executor(Protocol):
    """Picks actions; `waymark.clients.services.ExecutorClient` is the real one. Raises ServiceError."""

    async def action(
        self,
        state: AgentState,
        *,
        n: int = 1,
        model: str = "default",
        valid_actions: Sequence[str] | None = None,
    ) -> ActionResponse:
        """The `n` best next actions; with `valid_actions`, the best of those."""
        ...
