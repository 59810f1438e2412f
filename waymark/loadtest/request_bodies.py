"""The bodies of a load test's requests, written before the load begins, so that sending one costs little."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from waymark.agent.prompt import write_prompt
from waymark.agent.state import StateFold
from waymark.contracts import MOST_TURNS, ActionRequest, AgentState, DecisionRequest, Role, SubgoalRequest
from waymark.errors import InvalidInput
from waymark.loadtest.load_report import Target
from waymark.loadtest.sample_states import RecordedState
from waymark.loadtest.target import COMPLETIONS
from waymark.worlds.registry import get_format

_COMPLETION_TOKENS = 32


def states_for(target: Target, states: Sequence[RecordedState]) -> list[AgentState]:
    """The states at which this kind of service was asked, cut to the turns that it reads, as a worker cuts them."""
    role = "controller" if target.service == "controller" else "executor"
    turns = MOST_TURNS if target.history_turns is None else target.history_turns
    return [StateFold(state.state).visible(turns) for state in states if state.asked == role]


def write_requests(target: Target, states: Sequence[RecordedState], *, seed: int) -> list[bytes]:
    """A request body for each state at which this kind of service was asked, shuffled by the seed."""
    role = "controller" if target.service == "controller" else "executor"
    chosen = states_for(target, states)
    if not chosen:
        raise InvalidInput(
            f"No episode of this run sent a request to the {role}.",
            remedy="Name a run of a hierarchical agent.",
            field="states",
        )
    random.Random(seed).shuffle(chosen)
    return [_body(target, state) for state in chosen]


def _body(target: Target, state: AgentState) -> bytes:
    if target.path == COMPLETIONS:
        role: Role = "controller" if target.service == "controller" else "executor"
        prompt = write_prompt(get_format(target.prompt_format), role, state)
        document = {"model": target.model, "prompt": prompt, "max_tokens": _COMPLETION_TOKENS, "temperature": 0}
        return json.dumps(document).encode()
    kind: type[DecisionRequest] = SubgoalRequest if target.service == "controller" else ActionRequest
    return kind(state=state, model=target.model).model_dump_json(exclude_defaults=True).encode()
