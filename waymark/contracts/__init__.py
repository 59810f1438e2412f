"""The messages between processes: the state of an agent, the services' requests and responses, evaluations and results.

They are frozen pydantic models that forbid unknown fields. The text below a field gives its unit. This package imports
only the standard library and pydantic, so a client needs nothing else.

    agent       `AgentState`, `Turn`, and how an agent is put together (`AgentConfig`)
    service     requests, responses, `/info` and problems of controller and executor
    episode     one episode: `EpisodeSpec`, `TurnRecord`, `EpisodeResult`, `Versions`
    evaluation  evaluations: `EvaluationRequest`, `EvaluationStatus`, pages
    summary     an evaluation in figures: `EvaluationSummary`
    health      what the env-runner says of its health, `RunnerHealth` (not exported here)
"""

from waymark.contracts.agent import (
    MOST_ROOMS,
    MOST_SUBGOALS,
    MOST_TURNS,
    AgentConfig,
    AgentState,
    Policy,
    RepairName,
    SubgoalSource,
    Turn,
)
from waymark.contracts.base import Contract, Name, Phrase, Score, Text
from waymark.contracts.episode import (
    Asked,
    Considered,
    EpisodeError,
    EpisodeResult,
    EpisodeSpec,
    Limits,
    MadeBy,
    Opening,
    RuleUse,
    Stopped,
    TurnRecord,
    Versions,
)
from waymark.contracts.evaluation import (
    CheckpointMismatch,
    EpisodeEntry,
    EpisodePage,
    EvaluationPage,
    EvaluationRequest,
    EvaluationStatus,
    Variation,
)
from waymark.contracts.service import (
    DEADLINE_HEADER,
    ActionAlternative,
    ActionRequest,
    ActionResponse,
    CheckpointInfo,
    DecisionRequest,
    DecisionWarning,
    FieldProblem,
    Problem,
    Role,
    ServiceInfo,
    ServiceLimits,
    SubgoalAlternative,
    SubgoalRequest,
    SubgoalResponse,
    Timing,
    Usage,
)
from waymark.contracts.summary import (
    Effort,
    ErrorKind,
    EvaluationSummary,
    PublishedColumns,
    PublishedMethod,
    Summary,
    TaskScore,
)

__all__ = [
    "DEADLINE_HEADER",
    "MOST_ROOMS",
    "MOST_SUBGOALS",
    "MOST_TURNS",
    "ActionAlternative",
    "ActionRequest",
    "ActionResponse",
    "AgentConfig",
    "AgentState",
    "Asked",
    "CheckpointInfo",
    "CheckpointMismatch",
    "Considered",
    "Contract",
    "DecisionRequest",
    "DecisionWarning",
    "Effort",
    "EpisodeEntry",
    "EpisodeError",
    "EpisodePage",
    "EpisodeResult",
    "EpisodeSpec",
    "ErrorKind",
    "EvaluationPage",
    "EvaluationRequest",
    "EvaluationStatus",
    "EvaluationSummary",
    "FieldProblem",
    "Limits",
    "MadeBy",
    "Name",
    "Opening",
    "Phrase",
    "Policy",
    "Problem",
    "PublishedColumns",
    "PublishedMethod",
    "RepairName",
    "Role",
    "RuleUse",
    "Score",
    "ServiceInfo",
    "ServiceLimits",
    "Stopped",
    "SubgoalAlternative",
    "SubgoalRequest",
    "SubgoalResponse",
    "SubgoalSource",
    "Summary",
    "TaskScore",
    "Text",
    "Timing",
    "Turn",
    "TurnRecord",
    "Usage",
    "Variation",
    "Versions",
]
