"""The official `openai` client, unchanged, against services in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import openai
import pytest

from waymark.cli.local_stack import Stack
from waymark.serving.api.examples import START
from waymark.worlds.registry import get_format

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="a stack's processes end with their parent"
)

PROMPT = get_format("compact").render("controller", START)


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.url('controller')}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    listed = list(client.models.list())
    assert [model.id for model in listed] == ["default"]
    assert client.models.retrieve("default") == listed[0]


def test_a_prompt_is_completed_with_log_probabilities_and_usage(client: openai.OpenAI) -> None:
    completion = client.completions.create(
        model="default", prompt=PROMPT, n=2, best_of=3, max_tokens=32, logprobs=0, temperature=0
    )
    assert len({choice.text for choice in completion.choices}) == 2
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    for choice in completion.choices:
        assert choice.finish_reason == "stop"
        assert choice.logprobs is not None
        assert "".join(choice.logprobs.tokens or []) == choice.text
        assert sum(choice.logprobs.token_logprobs or []) < 0


def test_a_stream_gives_the_same_text(client: openai.OpenAI) -> None:
    completion = client.completions.create(model="default", prompt=PROMPT)
    chunks = list(client.completions.create(model="default", prompt=PROMPT, stream=True))
    assert [chunk.choices[0].text for chunk in chunks] == [completion.choices[0].text]


def test_refusals_are_the_clients_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="deterministically") as caught:
        client.completions.create(model="default", prompt=PROMPT, temperature=0.7)
    assert (caught.value.param, caught.value.type) == ("temperature", "invalid_request_error")
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="gpt", prompt=PROMPT)
    assert missing.value.code == "model_not_found"


def test_the_api_key_is_the_services_key(guarded: tuple[str, str]) -> None:
    url, key = guarded
    with openai.OpenAI(base_url=f"{url}/v1", api_key="wrong") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key) as client:
        assert client.completions.create(model="default", prompt=PROMPT).choices
