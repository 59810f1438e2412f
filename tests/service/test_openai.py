"""OpenAI's completions over the scripted engine: what is served, what is refused, and in which words."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.serving import JSON, asking, says
from waymark.inference.engines.scripted import Policy
from waymark.serving.api.openai import Completion, ErrorBody, ModelList
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio

ANSWERS = says("go to kitchen", "open door to kitchen", "end")


async def complete(policy: Policy = ANSWERS, **body: Any) -> Completion:
    async with asking("executor", default=policy) as client:
        response = await client.post("/v1/completions", json={"model": "default", "prompt": "navigate_to", **body})
    assert response.status_code == 200, response.text
    return Completion.model_validate_json(response.content)


def error(response: httpx.Response, status: int) -> ErrorBody:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert len(response.content) == int(response.headers["content-length"])
    return ErrorBody.model_validate_json(response.content)


async def test_a_prompt_is_completed_in_the_models_own_words() -> None:
    completion = await complete(temperature=0)
    assert [(choice.index, choice.text, choice.finish_reason) for choice in completion.choices] == [
        (0, "go to kitchen", "stop")
    ]
    assert completion.usage is not None
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (2, 4, 6)
    assert completion.model == "default"


async def test_the_choices_are_the_best_n_of_a_wider_beam() -> None:
    completion = await complete(prompt=["one", "two"], n=2, best_of=3)
    texts = ["go to kitchen", "open door to kitchen"]
    assert [(choice.index, choice.text) for choice in completion.choices] == list(enumerate(texts * 2))
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 2 * (4 + 5 + 2)


async def test_log_probabilities_are_those_of_the_tokens_and_the_end() -> None:
    (choice,) = (await complete(logprobs=1)).choices
    assert choice.logprobs is not None
    assert choice.logprobs.tokens == ("go", " to", " kitchen", "")
    assert choice.logprobs.text_offset == (0, 2, 5, 13)
    assert sum(choice.logprobs.token_logprobs) == pytest.approx(-1.0)
    assert choice.logprobs.top_logprobs is not None
    assert choice.logprobs.top_logprobs[0] == {"go": -0.25}
    (plain,) = (await complete(logprobs=0)).choices
    assert plain.logprobs is not None
    assert plain.logprobs.top_logprobs is None


@pytest.mark.parametrize(
    ("limits", "text", "finish", "tokens"),
    [
        ({"max_tokens": 2}, "go to", "length", ("go", " to")),
        ({"max_tokens": 3}, "go to kitchen", "length", ("go", " to", " kitchen")),
        ({"max_tokens": 4}, "go to kitchen", "stop", ("go", " to", " kitchen", "")),
        ({"stop": " kit"}, "go to", "stop", ("go", " to")),
        ({"stop": ["chen", "kit"]}, "go to ", "stop", ("go", " to", " kitchen")),
        ({"stop": "go"}, "", "stop", ()),
        ({"stop": "absent", "max_tokens": 1}, "go", "length", ("go",)),
    ],
)
async def test_an_answer_ends_at_a_stop_string(
    limits: dict[str, Any], text: str, finish: str, tokens: tuple[str, ...]
) -> None:
    (choice,) = (await complete(logprobs=0, **limits)).choices
    assert (choice.text, choice.finish_reason) == (text, finish)
    assert choice.logprobs is not None
    assert choice.logprobs.tokens == tokens
    assert len(choice.logprobs.token_logprobs) == len(choice.logprobs.text_offset) == len(tokens)


async def test_a_stream_is_the_choices_the_usage_and_the_end() -> None:
    body = {"model": "default", "prompt": "p", "n": 2, "stream": True, "stream_options": {"include_usage": True}}
    async with asking("executor", default=ANSWERS) as client:
        response = await client.post("/v1/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, end = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    first, second, last = (Completion.model_validate_json(chunk) for chunk in chunks)
    assert [chunk.choices[0].text for chunk in (first, second)] == ["go to kitchen", "open door to kitchen"]
    assert first.usage is None
    assert last.choices == ()
    assert last.usage is not None
    assert end == "[DONE]"


async def test_the_models_are_the_loaded_checkpoints() -> None:
    async with asking("executor", default=ANSWERS, flat=ANSWERS) as client:
        listed = ModelList.model_validate_json((await client.get("/v1/models")).content)
        flat = await client.get("/v1/models/flat")
        absent = await client.get("/v1/models/big")
    assert [model.id for model in listed.data] == ["default", "flat"]
    assert flat.json() == listed.data[1].model_dump()
    assert error(absent, 404).error.code == "model_not_found"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": 0.7}, "temperature"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"echo": True}, "echo"),
        ({"suffix": "!"}, "suffix"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"n": 17}, "n"),
        ({"min_p": 0.1}, "min_p"),
    ],
)
async def test_unsupported_parameters_are_refused_by_name(body: dict[str, Any], param: str) -> None:
    async with asking("executor", default=ANSWERS) as client:
        response = await client.post("/v1/completions", json={"model": "default", "prompt": "p", **body})
    refusal = error(response, 400).error
    assert (refusal.type, refusal.param) == ("invalid_request_error", param)
    assert param in refusal.message
    assert "Value error" not in refusal.message


@pytest.mark.parametrize("body", [{"n": 2, "best_of": 1}, {"logprobs": 2}, {"logprobs": 1, "n": 2}])
async def test_contradictory_parameters_are_refused(body: dict[str, Any]) -> None:
    async with asking("executor", default=ANSWERS) as client:
        error(await client.post("/v1/completions", json={"model": "default", "prompt": "p", **body}), 400)


async def test_every_refusal_of_this_route_has_openais_shape() -> None:
    settings = ServiceSettings(max_body_bytes=2_000, max_alternatives=2, max_items=2, max_input_tokens=50)
    body = {"model": "default", "prompt": "p"}
    async with asking("executor", settings, default=ANSWERS) as client:
        absent = error(await client.post("/v1/completions", json={**body, "model": "big"}), 404).error
        large = await client.post("/v1/completions", content=b"x" * 3_000)
        wide = error(await client.post("/v1/completions", json={**body, "best_of": 3}), 400).error
        many = await client.post("/v1/completions", json={**body, "prompt": ["p"] * 3})
        long = error(await client.post("/v1/completions", json={**body, "prompt": "p " * 100}), 400).error
        broken = error(await client.post("/v1/completions", content=b"{", headers=JSON), 400).error
        wrong = await client.get("/v1/completions")
        chat = await client.post("/v1/chat/completions", json={})
        ours = [await client.post("/v1/action", json={}), await client.post("/v1/nothing", json={})]
    assert (absent.code, absent.param) == ("model_not_found", "model")
    assert error(large, 413).error.code == "request_too_large"
    assert wide.param == "best_of"
    assert error(many, 413).error.type == "invalid_request_error"
    assert (long.code, long.param) == ("context_length_exceeded", "prompt")
    assert "JSON" in broken.message
    assert error(wrong, 405).error.type == "invalid_request_error"
    assert "/v1/chat/completions" in error(chat, 404).error.message
    assert {our.headers["content-type"] for our in ours} == {"application/problem+json"}


async def test_a_key_is_asked_for_in_openais_words() -> None:
    body = {"model": "default", "prompt": "p"}
    async with asking("executor", ServiceSettings(api_keys="secret"), default=ANSWERS) as client:
        refused = await client.post("/v1/completions", json=body)
        answered = await client.post("/v1/completions", json=body, headers={"authorization": "Bearer secret"})
    assert error(refused, 401).error.code == "invalid_api_key"
    assert refused.headers["www-authenticate"] == "Bearer"
    assert answered.status_code == 200


async def test_a_failure_does_not_tell_its_cause() -> None:
    def broken(_: str) -> list[tuple[str, float]]:
        raise RuntimeError("secret detail")

    async with asking("executor", default=broken) as client:
        response = await client.post("/v1/completions", json={"model": "default", "prompt": "p"})
    assert error(response, 500).error.type == "server_error"
    assert "secret detail" not in json.dumps(response.json())
