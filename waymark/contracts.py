"""What crosses a wire: the state of an agent, the services' requests and answers, evaluations and results.

Frozen pydantic models that forbid unknown fields. Units stand beside each field. Imports only the
standard library and pydantic, so that a client needs nothing else.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Role = Literal["controller", "first", "executor", "flat"]
"""What a checkpoint was trained to do: name the next sub-goal, name the first one, pick an action towards a
sub-goal, or pick an action without sub-goals."""

Text = Annotated[str, StringConstraints(max_length=20_000)]
Phrase = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Variation = Annotated[int, Field(ge=0, le=1_000_000)]
Score = Annotated[int, Field(ge=-100, le=100)]


class Contract(BaseModel):
    """Base of all wire models. What stands below a field describes it in every schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


# --- the agent's state -----------------------------------------------------------------------------------


class Turn(Contract):
    """One turn of the loop: an action and what came of it, or the end of a sub-goal."""

    action: Phrase | None
    """A string of the environment, e.g. `pick up thermometer`; null when the executor ended its sub-goal."""
    observation: Text
    """The environment's answer to the action; for an ended sub-goal the last answer again."""
    reward: Annotated[int, Field(ge=-200, le=200)] = 0
    """Change of the score, in points of 100."""

    @property
    def acted(self) -> str:
        """The action; empty for an ended sub-goal."""
        return self.action or ""


class AgentState(Contract):
    """All that an agent knows before it decides. Services render it into their checkpoint's prompt format."""

    task: Annotated[str, StringConstraints(min_length=1, max_length=4_000)]
    """The task description."""
    look: Text
    """What `look around` says now."""
    inventory: Text = ""
    """What `inventory` says now."""
    observation: Text = ""
    """The environment's answer to the last action."""
    score: Score = 0
    """0 to 100; negative after a wrong focus."""
    step: Annotated[int, Field(ge=1)] = 1
    """From 1; counts all turns even when fewer are sent."""
    turns: Annotated[tuple[Turn, ...], Field(max_length=1_000)] = ()
    """Oldest first; the last `history_turns` of `/info` suffice."""
    visited_rooms: Annotated[tuple[Phrase, ...], Field(max_length=200)] = ()
    """Each once, in the order of the first visit."""
    named_rooms: Annotated[tuple[Phrase, ...], Field(max_length=200)] | None = None
    """The rooms as the published prompts (`seed`) list them: those that the answer to a walk names (`You move to the
    kitchen.`) or a look that says `This room is called …`. Null: the same as `visited_rooms`."""
    completed_subgoals: Annotated[tuple[Phrase, ...], Field(max_length=1_000)] = ()
    """All sub-goals given before the current one, oldest first."""
    current_subgoal: Phrase | None = None
    """The last sub-goal given."""
    subgoal_step: Annotated[int, Field(ge=1)] | None = None
    """The `step` at which the current sub-goal was given: what was done since is `step - subgoal_step` actions.
    Null: not known, or the sub-goal has ended."""
    ended_subgoals: Annotated[int, Field(ge=0)] = 0
    """How many of the turns that `step` counts ended a sub-goal (those whose `action` is null), sent or not."""


# --- controller and executor -----------------------------------------------------------------------------

DEADLINE_HEADER: Final = "X-Waymark-Deadline-Ms"
"""How many milliseconds a request may take; over it 504. Of this and a body's `deadline_ms` the nearer one holds."""


class DecisionRequest(Contract):
    """Fields that both services share."""

    state: AgentState
    n: Annotated[int, Field(ge=1, le=16)] = 1
    """How many alternatives to return, best first (1: greedy; more: beam search of that width)."""
    model: Name = "default"
    """Name of a checkpoint that the service has loaded (see `/info`)."""
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] | None = None
    """Give up with 504 after this many milliseconds."""


class SubgoalRequest(DecisionRequest):
    """`POST /v1/subgoal`."""


class ActionRequest(DecisionRequest):
    """`POST /v1/action`. With `valid_actions` the answer is one of them: the best mean token log-probability."""

    valid_actions: Annotated[tuple[Phrase, ...], Field(min_length=1, max_length=256)] | None = None
    """Actions of the environment to choose from; null: whatever the model says."""


class Usage(Contract):
    """Tokens of one request."""

    prompt_tokens: int
    """What the model read, after truncation."""
    completion_tokens: int
    """What it wrote, all alternatives together, end tokens included."""
    truncated_tokens: int = 0
    """What was cut from the prompt because it was over the checkpoint's limit."""


class Timing(Contract):
    """Where the time of one request went, in milliseconds."""

    queue: float
    """Waiting for the tokeniser and for a place in a batch."""
    tokenise: float = 0.0
    """Rendering and tokenising."""
    model: float
    """Of the whole batch."""
    total: float


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
    model: str
    """The name of the checkpoint that answered."""
    checkpoint_sha256: str | None = None
    """Its hash, as `/info` gives it; empty for a model without weights, null from a server that does not say."""
    runtime: str | None = None
    """Its engine and number type, e.g. `ctranslate2 int8_float32`; null from a server that does not say."""
    usage: Usage
    timing_ms: Timing


class CheckpointInfo(Contract):
    """One loaded checkpoint, as `/info` tells it and results record it."""

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
    """What a service admits; over it 413 or 422 that names the field, over those of the queue 429."""

    items: int
    """Requests in one list."""
    turns: int
    """Actions of one state; ended sub-goals among them do not count."""
    alternatives: int
    """`n` of one request."""
    candidates: int
    """`valid_actions` of one request."""
    input_tokens: int
    """Of one prompt; what is over its checkpoint's own `max_input_tokens` is cut, and the answer says so."""
    body_bytes: int
    queue: int
    """Requests that may wait."""
    queue_tokens: int
    """Tokens that what waits may cost."""
    queue_seconds: float
    """How long a request may have to wait, at the pace of the moment."""
    request_tokens: int | None = None
    """What one request, or one list, may cost: prompt tokens, answers of full length, and candidates with their prompt
    each time that the engine reads it. Over it 413. Null: the server does not say."""


class ServiceInfo(Contract):
    """Answer of `GET /info`."""

    service: Literal["controller", "executor"]
    version: str
    checkpoints: tuple[CheckpointInfo, ...]
    history_turns: int
    """The longest history that any loaded checkpoint reads; send this many turns."""
    max_batch: int
    max_queue: int
    limits: ServiceLimits


class FieldProblem(Contract):
    """What is wrong with one field of the input."""

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


# --- evaluations -----------------------------------------------------------------------------------------

Asked = Literal["controller", "first", "executor"]
"""Which of an evaluation's checkpoints is asked; the fields of `Versions` that hold them."""
SubgoalSource = Literal["controller", "oracle", "random", "semi_random", "llm_plan", "none"]
Policy = Literal["guided", "published"]
RepairName = Literal["executor", "similarity"]


class AgentConfig(Contract):
    """How an agent is put together from the two services."""

    subgoals: SubgoalSource = "controller"
    """Where sub-goals come from: the `controller`; the rule annotator on the simulator's own path (`oracle`); any of
    the training data, drawn by the seed (`random`); the controller's with other arguments (`semi_random`); a plan asked
    of a large model at the start (`llm_plan`, where the env-runner knows one). `none` is the flat agent."""
    controller_calls: Literal["on_end", "every_step"] = "on_end"
    """Ask for a sub-goal only when the executor ended the last one, or at every step (as published)."""
    controller_model: Name = "default"
    """Name of a checkpoint that the controller has loaded."""
    executor_model: Name = "default"
    """Name of one that the executor has; of role `flat` for the flat agent."""
    policy: Policy = "guided"
    """Who decides what to do with the models' answers: `guided` applies Waymark's rules of play; `published` takes the
    best answer as it is, as the published loop does (docs/reference/published-method.md)."""
    beams: Annotated[int, Field(ge=1, le=16)] = 1
    """Beam width of every question to both models; 1 is greedy decoding. The published loop used 5."""
    repair: bool = True
    """Replace actions that the environment does not know by valid ones, as `repair_by` says."""
    repair_by: RepairName = "executor"
    """What replaces an unknown action: what the executor prefers among valid ones (`executor`), or by the published
    rule the valid action that shares most words with the proposed one (`similarity`)."""

    rules: Annotated[tuple[Name, ...], Field(max_length=100, fail_fast=True)] | None = None
    """Names of the rules of play that the agent uses; null: all rules of the world; empty: none. The policy `published`
    uses none, and `repair` false leaves out those that replace actions."""

    @field_validator("rules")
    @classmethod
    def _as_a_set(cls, rules: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if rules is None else tuple(sorted(set(rules)))

    @model_validator(mode="after")
    def _published_sources(self) -> Self:
        if self.policy == "published" and self.subgoals not in ("controller", "none"):
            raise ValueError(
                f"the policy `published` needs the sub-goals `controller` or `none`; got {self.subgoals!r}. "
                "Choose one of these, or the policy `guided`"
            )
        return self


class Limits(Contract):
    """When an episode ends without being solved."""

    moves: Annotated[int, Field(ge=1, le=10_000)]
    """Simulator moves; passed when moves > this."""
    turns: Annotated[int, Field(ge=1, le=20_000)]
    """Turns of the loop: actions, free ones too, and ended sub-goals."""
    patience: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Stop after this many turns without a change of score; null: never."""
    repetition: Annotated[int, Field(ge=3, le=1_000_000)] | None = None
    """Stop when this many actions in a row are at most two distinct ones; null: never."""


class EvaluationRequest(Contract):
    """`POST /v1/evaluations`: a protocol, or tasks and variations of one's own."""

    world: Name | None = None
    """Which world is played, e.g. `scienceworld`; null: the one that the env-runner plays, which is the only one it
    accepts."""
    protocol: Name = "quick"
    """Which variations are played, and when an episode ends, unless the fields below say otherwise. In ScienceWorld one
    of `quick`, `dev`, `seed`, `swiftsage`, `full`."""
    split: Literal["train", "dev", "test"] | None = None
    """Whose variations the protocol plays; null: its own. The env-runner records it for `quick`, which played test
    variations in runs that lack it."""
    tasks: Annotated[tuple[Name, ...], Field(max_length=100, fail_fast=True)] | None = None
    """Task ids or names; null: all of the world's."""
    variations: Annotated[tuple[Variation, ...], Field(max_length=2_000, fail_fast=True)] | None = None
    """Variations of each task; null: those of the protocol."""
    agent: AgentConfig = AgentConfig()
    """Who plays."""
    limits: Limits | None = None
    """Null: those of the protocol."""
    options: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Of the world, which checks them; null: its default, in ScienceWorld `easy`."""
    simplifications: Annotated[str, StringConstraints(max_length=200)] | None = None
    """The old name of `options`, which counts where that is null."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Drives sampling and random sub-goals; the simulator takes no seed."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """How often each variation is played. With two or more, intervals tell luck of play apart."""


class EpisodeSpec(Contract):
    """One episode to play: the unit of work in the queue."""

    id: str
    """Derived from evaluation, task, variation, seed, agent and repeat: the same input gives the same id."""
    evaluation: str
    task: str
    """Task id, e.g. `1-1`."""
    variation: int
    repeat: Annotated[int, Field(ge=0)] = 0
    """Which play of the variation this is, from 0."""
    simplifications: str
    seed: int
    agent: AgentConfig
    limits: Limits


class Considered(NamedTuple):
    """One alternative that a model gave, as a turn records it; in JSON an array of these two."""

    text: str | None
    """The sub-goal or the action; null: the executor ends the sub-goal."""
    logprob: float
    """Natural logarithm of its probability, rounded to 3 digits."""


class TurnRecord(Contract):
    """One turn of an episode as it stands in the results."""

    turn: int
    """From 1."""
    subgoal: str | None
    """The sub-goal in force."""
    controller_called: bool
    """True when that sub-goal was asked for in this turn."""
    action: str | None
    """What was executed; null when the executor ended the sub-goal, or when nothing that it wrote was an action."""
    proposed: str | None
    """What the executor said first; differs from `action` after a repair. Beside a null `action`: the text that was no
    action."""
    logprob: float | None
    """The executor's log-probability of what it said first."""
    repaired: bool = False
    known: bool = True
    """False when the environment did not understand the executed action, or when the executor wrote none."""
    ambiguous: bool = False
    observation: str = ""
    look: str = ""
    inventory: str = ""
    score: Score = 0
    reward: int = 0
    moves: int = 0
    seconds: float = 0.0
    subgoals: tuple[Considered, ...] = ()
    """The controller's alternatives in this turn, best first, as arrays of text and log-probability: at most 5, and
    the one that was followed. Empty where it was not asked, and in results of older versions."""
    actions: tuple[Considered, ...] = ()
    """The executor's alternatives in this turn, in the same form."""
    rules: tuple[str, ...] = ()
    """Names of the rules of play that acted in this turn."""


class Versions(Contract):
    """What produced a result."""

    waymark: str
    """Of this package."""
    commit: str | None
    """Of the checkout that holds the code that played it; null outside of one."""
    modified: bool | None = None
    """Whether that code differed from the commit; null where there is no commit, and in results from before this."""
    environment: str
    """With its version, e.g. `scienceworld 1.2.3`."""
    controller: CheckpointInfo | None
    """Null for an agent that asks none."""
    first: CheckpointInfo | None = None
    """What answers in its place while there are no turns; null where the controller itself does."""
    executor: CheckpointInfo
    planner: str | None = None
    """Of `llm_plan`: the model and the address of its endpoint; null for other agents."""


class Opening(Contract):
    """What an agent sees before its first action."""

    task: str
    """The task description, one line, without the heading."""
    look: str
    """What `look around` would say."""
    inventory: str


class EpisodeError(Contract):
    """Why an episode could not be finished."""

    kind: str
    """Name of the error, see `waymark.errors`."""
    message: str


class MadeBy(Contract):
    """The checkpoints that made the decisions of an episode: the first 12 digits of each one's hash.

    Null for one that was not asked; empty for a model without weights.
    """

    controller: str | None = None
    first: str | None = None
    executor: str | None = None


class RuleUse(Contract):
    """How often one rule of play acted in an episode."""

    rule: str
    turns: int
    """In how many turns it acted."""


class EpisodeResult(Contract):
    """One finished episode: whole, or light, which leaves out its turns and what all of an evaluation share."""

    id: str
    """Derived from evaluation, task, variation, seed, agent and repeat."""
    evaluation: str
    task: str
    """Task id, e.g. `1-1`."""
    variation: int
    repeat: Annotated[int, Field(ge=0)] = 0
    """Which play of the variation this is, from 0."""
    seed: int
    score: Annotated[int, Field(ge=0, le=100)]
    """max(0, raw_score); 0 for an episode that errored."""
    raw_score: Score
    """As it stood at the end; -100 after a wrong focus."""
    last_nonnegative_score: Annotated[int, Field(ge=0, le=100)]
    """The last score before it went negative."""
    success: bool
    """The score is 100."""
    moves: int
    """As the simulator counts them."""
    actions: int
    """Actions executed in the environment, free and unknown ones included."""
    turns: int
    """Of the loop: actions, and ended sub-goals."""
    model_calls: int
    """Of controller and executor together."""
    tokens: int = 0
    """Prompt and completion tokens of all model calls."""
    prompt_tokens: int = 0
    """What the models read."""
    completion_tokens: int = 0
    """What they wrote."""
    repaired: int
    """Actions that were replaced because the environment did not know them."""
    unparsed: int = 0
    """Answers of controller and executor that stood for no decision."""
    rules: tuple[RuleUse, ...] = ()
    """The rules of play that acted, most often first; empty in results of older versions."""
    stopped: Literal["completed", "failed", "moves", "turns", "patience", "error", "cancelled"]
    """`failed`: the score went negative; `patience` stands for both rules against going in circles."""
    error: EpisodeError | None = None
    """Null for an episode that was played to its end."""
    seconds: float
    """Wall time of play."""
    agent: AgentConfig | None = None
    """Who played it; null in a light result."""
    checkpoints: MadeBy | None = None
    """The checkpoints that made its decisions. Each decision's was checked, so all turns share them; null in a result
    of an older version."""
    versions: Versions | None = None
    """What it was played with, as the worker found it; null in a light result."""
    opening: Opening | None = None
    """What the first turn began with; null in a light result, and where the environment never opened."""
    trajectory: tuple[TurnRecord, ...] = ()
    """Every turn, in order; empty in a light result."""

    def without_trajectory(self) -> EpisodeResult:
        """Without its turns and what all of an evaluation share."""
        return self.model_copy(update={"agent": None, "versions": None, "opening": None, "trajectory": ()})


class CheckpointMismatch(Contract):
    """Why a worker does not play an evaluation now: it finds another checkpoint, environment or planner."""

    what: str
    """`controller`, `first sub-goal's controller`, `executor`, `environment` or `planner`."""
    expected: str
    """What the evaluation was submitted for; of a checkpoint its name, hash, prompt format, engine and number type."""
    found: str
    """What the worker finds instead; as much as it knows."""
    worker: str
    """Which worker says so; another one may play the evaluation meanwhile."""
    since: str
    """ISO 8601, UTC."""

    def __str__(self) -> str:
        return f"{self.what} is {self.found}; the evaluation was submitted for {self.expected}"


class EvaluationStatus(Contract):
    """Answer of `GET /v1/evaluations/{id}`."""

    id: str
    request: EvaluationRequest
    state: Literal["queued", "running", "cancelled", "finished"]
    created: str
    """ISO 8601, UTC."""
    versions: Versions | None = None
    episodes: int
    """How many the evaluation has."""
    finished: int
    """With a result, errored ones included."""
    errored: int
    running: int
    mean_score: float | None = None
    """Mean over the finished episodes so far, 0 to 100; the table's headline is the mean over task types."""
    agent_name: str = ""
    """What tables call the agent, e.g. `hierarchical, no repair`."""
    waiting: CheckpointMismatch | None = None
    """Set while a worker waits for the checkpoints that the evaluation was submitted for."""


class EvaluationPage(Contract):
    """Answer of `GET /v1/evaluations`."""

    items: tuple[EvaluationStatus, ...]
    """The newest first."""
    next_cursor: str | None
    """Ask with it for what follows; null on the last page."""


class EpisodeEntry(Contract):
    """One episode of an evaluation, finished or not."""

    id: str
    task: str
    """Task id, e.g. `1-1`."""
    variation: int
    repeat: int = 0
    """Which play of the variation this is, from 0."""
    result: EpisodeResult | None
    """Light; null while there is none."""


class EpisodePage(Contract):
    """Answer of `GET /v1/evaluations/{id}/episodes`."""

    items: tuple[EpisodeEntry, ...]
    """In the order of play."""
    next_cursor: str | None
    """Ask with it for what follows; null on the last page."""
