"""The body of `POST /v1/completions`: OpenAI's fields, and those of vLLM that its callers send.

Models here decode deterministically. A field that could change this is accepted with its neutral value
(`repetition_penalty` 1, `top_k` -1), because load generators send it, and refused by name with any other value. Null
counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, JsonValue, ValidationInfo, field_validator, model_validator

from waymark.contracts import Contract

_LONGEST_PROMPT: Final = 1_000_000
_NEUTRAL: Final[Mapping[str, tuple[object, ...]]] = {
    "echo": (False,),
    "suffix": ("",),
    "temperature": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "top_k": (0, -1),
    "min_p": (0,),
    "min_tokens": (0,),
    "use_beam_search": (False,),
    "stop_token_ids": ((),),
    "bad_words": ((),),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "add_special_tokens": (True,),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "response_format": ({"type": "text"},),
}
"""Neutral values of fields: with them a field has no effect."""
_Ids = Annotated[tuple[int, ...], Field(max_length=1_024)]
_Words = Annotated[tuple[str, ...], Field(max_length=1_024)]

Prompt = Annotated[str, Field(max_length=_LONGEST_PROMPT)]


class StreamOptions(Contract):
    """How a stream ends."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False
    """Send the usage in a last chunk without choices."""


class CompletionRequest(Contract):
    """`POST /v1/completions`."""

    model: Annotated[str, Field(max_length=100)]
    """Name of a loaded checkpoint, as `/v1/models` lists them."""
    prompt: Prompt | Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=1_024)]
    """Text in the checkpoint's prompt format, or several."""
    n: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of answers to each prompt, best first."""
    best_of: Annotated[int, Field(ge=1, le=16)] | None = None
    """Width of the beam search; null: `n`. 1 is greedy."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Cut answers after so many tokens; null: the checkpoint's own limit."""
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    """0: return the log-probability of each token. 1: with greedy decoding, also return it as the likeliest token."""
    stop: str | Annotated[tuple[str, ...], Field(max_length=4)] | None = None
    """Texts that end an answer; it stops before them."""
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    """0 or nothing: models here do not sample."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Without effect, since nothing is sampled."""
    seed: int | None = None
    """Without effect, since nothing is sampled."""
    user: str | None = None
    """Without effect."""
    echo: bool = False
    """Only false."""
    suffix: str | None = None
    """Only null."""
    frequency_penalty: float | None = None
    """Only 0."""
    presence_penalty: float | None = None
    """Only 0."""
    logit_bias: dict[str, float] | None = None
    """Only empty."""
    repetition_penalty: float | None = None
    """Only 1."""
    length_penalty: float | None = None
    """Only 1."""
    top_k: int | None = None
    """Only 0 or -1."""
    min_p: float | None = None
    """Only 0."""
    min_tokens: int | None = None
    """Only 0."""
    ignore_eos: bool = False
    """Without effect: an answer ends where the model ends it, and `usage` says how long it is."""
    use_beam_search: bool = False
    """Only false: `best_of` is the width of the beam."""
    stop_token_ids: _Ids | None = None
    """Only empty."""
    bad_words: _Words | None = None
    """Only empty."""
    include_stop_str_in_output: bool = False
    """Only false."""
    skip_special_tokens: bool = True
    """Only true."""
    spaces_between_special_tokens: bool = True
    """Without effect, since there are none in an answer."""
    add_special_tokens: bool = True
    """Only true."""
    return_token_ids: bool = False
    """Only false."""
    return_tokens_as_token_ids: bool = False
    """Only false."""
    response_format: dict[str, JsonValue] | None = None
    """Only `{"type": "text"}`."""
    priority: int = 0
    """Without effect."""
    request_id: Annotated[str, Field(max_length=200)] | None = None
    """Without effect; the header `X-Request-ID` names a request."""
    cache_salt: Annotated[str, Field(max_length=1_000)] | None = None
    """Without effect."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: setting for name, setting in value.items() if setting is not None}
        return value

    @field_validator("prompt", mode="before")
    @classmethod
    def _refuse_token_numbers(cls, value: object) -> object:
        if isinstance(value, list) and any(isinstance(item, int | list) for item in value):
            raise ValueError("token numbers are not understood; send text")
        return value

    @field_validator(*_NEUTRAL)
    @classmethod
    def _refuse_unsupported(cls, value: object, info: ValidationInfo) -> object:
        neutral = _NEUTRAL[info.field_name or ""]
        if value is not None and value not in neutral:
            shown = " or ".join(repr(neutral_value) for neutral_value in neutral).replace("()", "[]")
            raise ValueError(f"not served here: models decode deterministically; leave it out, or give {shown}")
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.width < self.n:
            raise ValueError("best_of must be at least n")
        if self.logprobs and (self.logprobs > 1 or self.width > 1):
            raise ValueError(
                "only the chosen tokens' log-probabilities are known: give logprobs=0, or 1 when n and best_of are 1"
            )
        return self

    @property
    def width(self) -> int:
        """Width of the beam."""
        return self.best_of or self.n

    @property
    def prompts(self) -> tuple[str, ...]:
        """All prompts."""
        return (self.prompt,) if isinstance(self.prompt, str) else self.prompt

    @property
    def stops(self) -> tuple[str, ...]:
        """All texts that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else self.stop or ()
