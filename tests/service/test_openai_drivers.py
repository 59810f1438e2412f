"""Completions as load generators ask for them: `vllm bench serve`, guidellm, aiperf; and answers of bounded length."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
from pydantic import SecretStr

from tests.serving import JSON, asking, says
from waymark.inference.engines.scripted import Policy
from waymark.serving.api.openai import Completion
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio

SAYS = says("go to kitchen", "open door to kitchen", "end")
BODY: dict[str, Any] = {"model": "default", "prompt": "navigate_to"}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
VLLM_BENCH = {**BODY, "repetition_penalty": 1.0, "max_tokens": 128, "logprobs": None, **USAGE}
GUIDELLM = {
    **BODY,
    "stream": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    "max_tokens": 64,
    "stop": None,
    "ignore_eos": True,
}
AIPERF = {
    **BODY,
    "prompt": ["navigate_to"],
    "stream": True,
    "max_tokens": 32,
    "stream_options": {"include_usage": True},
}

SENT = {
    "guidellm 0.8.1": b'{"model":"default","stream":true,"stream_options":{"include_usage":true,'
    b'"continuous_usage_stats":true},"prompt":"navigate_to kitchen | room bathroom : bathtub off | have orange"}',
    "guidellm 0.8.1, output_tokens=16": b'{"model":"default","stream":true,"stream_options":{"include_usage":true,'
    b'"continuous_usage_stats":true},"max_tokens":16,"ignore_eos":true,"prompt":"1 0 m0 finish medical want almost"}',
    "aiperf 0.13.0": b'{"prompt":"navigate_to kitchen | did teleport to kitchen | have orange","model":"default",'
    b'"stream":true,"stream_options":{"include_usage":true}}',
    "vllm bench serve 0.32.0": b'{"model": "default", "prompt": "focus_on baby brown bear | before teleport outside",'
    b' "repetition_penalty": 1.0, "max_tokens": 16, "logprobs": null, "stream": true,'
    b' "stream_options": {"include_usage": true}}',
}
"""Bodies that the tools sent to an executor on 2026-11-29, with shorter prompts."""


async def post(body: dict[str, Any], policy: Policy = SAYS) -> httpx.Response:
    async with asking("executor", default=policy) as client:
        return await client.post("/v1/completions", json=body)


@pytest.mark.parametrize("body", [VLLM_BENCH, {**VLLM_BENCH, "ignore_eos": True}, GUIDELLM, AIPERF])
async def test_a_load_generator_reads_text_usage_and_end(body: dict[str, Any]) -> None:
    response = await post(body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, end = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert end == "[DONE]"
    chunks = [json.loads(event) for event in events]
    texts = [chunk["choices"][0]["text"] for chunk in chunks if chunk["choices"]]
    (usage,) = [chunk["usage"] for chunk in chunks if not chunk["choices"]]
    assert "".join(texts) == "go to kitchen"
    assert (usage["prompt_tokens"] > 0, usage["completion_tokens"]) == (True, 4)
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}


@pytest.mark.parametrize("body", SENT.values(), ids=SENT.keys())
async def test_what_a_load_generator_really_sends_is_answered(body: bytes) -> None:
    headers = {**JSON, "accept": "text/event-stream", "x-request-id": "bench-6f6e5c72-0"}
    async with asking("executor", default=SAYS) as client:
        response = await client.post("/v1/completions", content=body, headers=headers)
    assert response.status_code == 200, response.text
    *chunks, end = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert end == "[DONE]"
    assert json.loads(chunks[-1])["usage"]["completion_tokens"] == 4
    assert "".join(json.loads(chunk)["choices"][0]["text"] for chunk in chunks[:-1]) == "go to kitchen"


@pytest.mark.parametrize(
    "neutral",
    [
        {"repetition_penalty": 1.0},
        {"repetition_penalty": 1},
        {"top_k": -1},
        {"top_k": 0},
        {"min_p": 0.0},
        {"presence_penalty": 0, "frequency_penalty": 0.0},
        {"n": 2, "best_of": 2},
        {"logit_bias": {}},
        {"ignore_eos": False},
        {"min_tokens": 0},
        {"length_penalty": 1.0, "use_beam_search": False},
        {"skip_special_tokens": True, "spaces_between_special_tokens": True, "add_special_tokens": True},
        {"stop_token_ids": [], "bad_words": [], "include_stop_str_in_output": False},
        {"response_format": {"type": "text"}},
        {
            "stream": None,
            "n": None,
            "max_tokens": None,
            "user": None,
            "guided_json": None,
            "truncate_prompt_tokens": None,
        },
        {"stream": False, "stream_options": None, "return_token_ids": None, "priority": 0, "request_id": "one"},
    ],
)
async def test_a_value_that_asks_for_nothing_is_accepted(neutral: dict[str, Any]) -> None:
    response = await post({**BODY, **neutral})
    assert response.status_code == 200, response.text
    assert Completion.model_validate_json(response.content).choices[0].text == "go to kitchen"


@pytest.mark.parametrize(
    "other",
    [
        {"repetition_penalty": 1.1},
        {"top_k": 40},
        {"min_p": 0.1},
        {"min_tokens": 5},
        {"logit_bias": {"5": 1}},
        {"use_beam_search": True},
        {"stop_token_ids": [2]},
        {"skip_special_tokens": False},
        {"response_format": {"type": "json_object"}},
        {"presence_penalty": 0.5},
        {"guided_regex": "a*"},
    ],
)
async def test_a_value_that_asks_for_more_is_refused_by_name(other: dict[str, Any]) -> None:
    response = await post({**BODY, **other})
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith(next(iter(other)))


@asynccontextmanager
async def official(policy: Policy = SAYS) -> AsyncIterator[openai.AsyncOpenAI]:
    async with asking("executor", default=policy) as http:
        theirs: Any = http  # it says another library's client, and takes any that looks like it
        yield openai.AsyncOpenAI(base_url="http://localhost/v1", api_key="none", http_client=theirs, max_retries=0)


async def test_the_official_client_reads_a_stream_with_its_usage() -> None:
    async with official() as client:
        extra = {"repetition_penalty": 1.0, "ignore_eos": True}
        stream = await client.completions.create(
            model="default", prompt="p", n=2, stream=True, stream_options={"include_usage": True}, extra_body=extra
        )
        chunks = [chunk async for chunk in stream]
    assert [choice.text for chunk in chunks for choice in chunk.choices] == ["go to kitchen", "open door to kitchen"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4 + 5


async def test_the_official_client_gets_an_error_instead_of_a_stream() -> None:
    async with official() as client:
        with pytest.raises(openai.BadRequestError, match="top_k"):
            await client.completions.create(model="default", prompt="p", stream=True, extra_body={"top_k": 5})


async def test_a_load_generator_finds_the_service_ready_without_a_key() -> None:
    settings = ServiceSettings(api_keys=SecretStr("key"))
    async with asking("executor", settings, default=SAYS) as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/v1/models")).status_code == 401


@pytest.mark.parametrize("more", [{}, {"logprobs": 1}, {"stream": True}, {"stop": "absent"}, {"max_tokens": 3}])
async def test_a_text_that_never_ends_is_cut(more: dict[str, Any]) -> None:
    response = await post({**BODY, **more}, says("x" * 1_000_000))
    assert response.status_code == 200
    assert len(response.content) < 16_000
    if not more.get("stream"):
        (choice,) = response.json()["choices"]
        assert (len(choice["text"]), choice["finish_reason"]) == (4_000, "length")
        assert choice["logprobs"] is None or "".join(choice["logprobs"]["tokens"]) == choice["text"]


async def test_many_texts_together_are_bounded() -> None:
    texts = says(*(f"{number} " + "x" * 100_000 for number in range(16)))
    response = await post({**BODY, "prompt": ["p"] * 64, "n": 16}, texts)
    assert response.status_code == 200
    assert len(response.content) < 1_300_000


async def test_a_malformed_body_is_an_error_of_the_openai_client() -> None:
    async with asking("executor", default=SAYS) as client:
        response = await client.post("/v1/completions", content=b"[1]", headers=JSON)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
