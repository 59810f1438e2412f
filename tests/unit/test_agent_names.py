"""Each named agent is described where people choose one."""

from __future__ import annotations

from waymark.agent.named_agents import AGENTS, DESCRIPTIONS


def test_every_agent_has_a_sentence() -> None:
    assert list(DESCRIPTIONS) == list(AGENTS)
