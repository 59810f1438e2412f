"""Controller and executor: requests, responses, `/info`, and errors."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from waymark.contracts.agent import AgentState
from waymark.contracts.base import Contract, Name, Phrase

Role = Literal["controller", "first", "executor", "flat"]
"""What a checkpoint was trained to do: name the next sub-goal, name the first one, pick an action towards a
sub-goal, or pick an action without sub-goals."""
DEADLINE_HEADER: Final = "X-Waymark-Deadline-Ms"
"""Milliseconds that a request may take; after that the answer is 504. If the body has `deadline_ms` too, the earlier
deadline counts."""


class DecisionRequest(Contract):
    """Fields that both services share."""

    state: AgentState
    n: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of alternatives to return, best first (1: greedy; more: beam search of that width)."""
    model: Name = "default"
    """Name of a checkpoint that the service has loaded (see `/info`)."""
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] | None = None
    """Give up with 504 after this many milliseconds."""


class SubgoalRequest(DecisionRequest):
    """`POST /v1/subgoal`."""


class ActionRequest(DecisionRequest):
    """`POST /v1/action`. With `valid_actions` the answer is the one whose tokens have the best mean log-probability."""

    valid_actions: Annotated[tuple[Phrase, ...], Field(min_length=1, max_length=256)] | None = None
    """Actions of the environment to choose from; null: the model's own text."""


class Usage(Contract):
    """Tokens of one request."""

    prompt_tokens: int
    """Tokens that the model read, after truncation."""
    completion_tokens: int
    """Tokens that it wrote, in all alternatives together, including end tokens."""
    truncated_tokens: int = 0
    """Tokens that were cut from the prompt because it was over the checkpoint's limit."""


class Timing(Contract):
    """The time of one request by stage, in milliseconds."""

    queue: float
    """Waiting for the tokeniser and for a place in a batch."""
    tokenise: float = 0.0
    """Rendering and tokenising."""
    model: float
    """Computation of the whole batch."""
    total: float


class DecisionWarning(Contract):
    """A reason to doubt an answer."""

    code: Literal["unknown-scene"]
    """`unknown-scene`: the state is not from the world that the checkpoint was trained for."""
    field: str
    """Field of the request, e.g. `state.look`."""
    message: str


class SubgoalAlternative(Contract):
    """One candidate sub-goal; log-probabilities are natural, the end token included."""

    subgoal: str
    """Empty exactly when not `parsed`."""
    parsed: bool = True
    """False: what the model wrote stands for no sub-goal."""
    raw: str | None = None
    """What it wrote instead, at most 500 characters; null when parsed."""
    logprob: float
    mean_logprob: float


class SubgoalResponse(Contract):
    """Answer of `POST /v1/subgoal`: the first alternative, and who gave it."""

    subgoal: str
    """Empty exactly when not `parsed`: ask for more alternatives, or keep the sub-goal that you have."""
    parsed: bool = True
    """False: what the model wrote stands for no sub-goal, and neither does any alternative."""
    raw: str | None = None
    """What the model wrote instead, at most 500 characters; null when parsed."""
    alternatives: tuple[SubgoalAlternative, ...]
    """Best first. Those that could not be parsed are left out, unless none could be."""
    warnings: tuple[DecisionWarning, ...] = ()
    """Why the answer is doubtful; empty for a state of the world that the checkpoint was trained for."""
    model: str
    """The name of the checkpoint that answered."""
    checkpoint_sha256: str | None = None
    """Its hash, as `/info` gives it; empty for a model without weights, null from a server that does not say."""
    runtime: str | None = None
    """Its engine and number type, e.g. `ctranslate2 int8_float32`; null from a server that does not say."""
    usage: Usage
    timing_ms: Timing


class ActionAlternative(Contract):
    """One candidate action; `action` is null exactly when `ended_subgoal`."""

    action: str | None
    ended_subgoal: bool
    parsed: bool = True
    """False: what the model wrote stands for no action."""
    raw: str | None = None
    """What it wrote instead, at most 500 characters; null when parsed."""
    logprob: float
    mean_logprob: float


class ActionResponse(Contract):
    """Answer of `POST /v1/action`: the first alternative, and who gave it.

    `action` is null exactly when `ended_subgoal`. Where nothing could be parsed both say so, besides `parsed`: a caller
    that does not look at `parsed` then asks for the next sub-goal and never acts on text that is no action.
    """

    action: str | None
    ended_subgoal: bool
    parsed: bool = True
    """False: what the model wrote stands for no action, and neither does any alternative."""
    raw: str | None = None
    """What the model wrote instead, at most 500 characters; null when parsed."""
    alternatives: tuple[ActionAlternative, ...]
    """Best first. Those that could not be parsed are left out, unless none could be."""
    warnings: tuple[DecisionWarning, ...] = ()
    """Why the answer is doubtful; empty for a state of the world that the checkpoint was trained for."""
    model: str
    """The name of the checkpoint that answered."""
    checkpoint_sha256: str | None = None
    """Its hash, as `/info` gives it; empty for a model without weights, null from a server that does not say."""
    runtime: str | None = None
    """Its engine and number type, e.g. `ctranslate2 int8_float32`; null from a server that does not say."""
    usage: Usage
    timing_ms: Timing


class CheckpointInfo(Contract):
    """One loaded checkpoint, in `/info` and in results."""

    model: str
    """The name that requests use: `default`, `flat`, `first`."""
    checkpoint: str
    """The card's own name."""
    sha256: str
    """Hash over the card, which holds the hashes of all files."""
    role: Role
    architecture: Literal["seq2seq", "causal", "scripted"]
    prompt_format: str
    history_turns: int
    parameters: int
    max_input_tokens: int
    max_new_tokens: int
    engine: str
    dtype: str

    @property
    def runtime(self) -> str:
        """Engine and number type, e.g. `ctranslate2 int8_float32`."""
        return f"{self.engine} {self.dtype}"


class ServiceLimits(Contract):
    """Limits of a service. A request over them gets 413 or 422 with the field; over the limits of the queue it gets
    429.
    """

    items: int
    """Largest number of requests in one list."""
    turns: int
    """Largest number of actions of one state; ended sub-goals among them do not count."""
    alternatives: int
    """`n` of one request."""
    candidates: int
    """`valid_actions` of one request."""
    input_tokens: int
    """Largest length of one prompt. A prompt over its checkpoint's own `max_input_tokens` is cut, and the answer says
    so."""
    body_bytes: int
    queue: int
    """Largest number of requests that wait."""
    queue_tokens: int
    """Largest total cost of waiting requests, in tokens."""
    queue_seconds: float
    """Longest expected waiting time of an admitted request, in seconds."""
    request_tokens: int | None = None
    """Largest cost of one request, or one list, in tokens: prompts, answers of full length, and candidates with their
    prompt each time that the engine reads it. Over it 413. Null: the server does not say."""


class ServiceInfo(Contract):
    """Answer of `GET /info`."""

    service: Literal["controller", "executor"]
    version: str
    checkpoints: tuple[CheckpointInfo, ...]
    history_turns: int
    """The longest history that any loaded checkpoint reads. Send this many turns."""
    max_batch: int
    max_queue: int
    limits: ServiceLimits


class FieldProblem(Contract):
    """A problem with one field of the input."""

    field: str
    """Path in the body, e.g. `state.turns.3.action`."""
    message: str


class Problem(Contract):
    """RFC 9457 problem document; every error of every service has this form."""

    type: str
    """`urn:waymark:` plus the error's name in kebab case, e.g. `urn:waymark:invalid-input`."""
    title: str
    status: int
    detail: str
    """What is wrong and what to do."""
    request_id: str
    errors: tuple[FieldProblem, ...] = ()
    """The first 20."""
    more_errors: int = 0
    """How many there are beside these."""
