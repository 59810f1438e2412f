"""A dataset's input is, byte for byte, what the service gives its model for the same state over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import httpx
import pytest

from tests.oracle import one_of_each_task, rule_annotations
from training.datasets import decisions, examples
from waymark.client import ControllerClient, ExecutorClient
from waymark.contracts import Role
from waymark.generation.scripted import ScriptedGenerator
from waymark.prompts import get_format
from waymark.serving.app import create_app
from waymark.serving.models import scripted_model
from waymark.serving.settings import Service, ServiceSettings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("format_name", ["seed", "compact", "seed-nohistory", "compact-nohistory"])
@pytest.mark.parametrize("role", get_args(Role))
async def test_the_dataset_input_and_the_served_prompt_are_the_same_bytes(role: Role, format_name: str) -> None:
    chosen = [one for one in one_of_each_task() if one.task_id in ("1-1", "3-3", "4-2", "8-1")]
    named = rule_annotations(chosen)
    prompt_format = get_format(format_name)
    expected = [example.prompt.encode() for example in examples(chosen, named, role, prompt_format)]
    served: list[bytes] = []

    def record(prompt: str) -> list[tuple[str, float]]:
        served.append(prompt.encode())
        return [("look around", -1.0)]

    model = replace(scripted_model("default", role, ScriptedGenerator(record)), format=prompt_format)
    service: Service = "controller" if role in ("controller", "first") else "executor"
    app = create_app(service, {"default": model}, ServiceSettings())
    states = [decision.state for one in chosen for decision in decisions(one, named[one.key], role)]
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        if service == "controller":
            controller = ControllerClient("http://service", transport=transport)
            for state in states:
                await controller.subgoal(state)
        else:
            executor = ExecutorClient("http://service", transport=transport)
            for state in states:
                await executor.action(state)
    assert served == expected
