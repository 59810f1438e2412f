"""Clients of the services over HTTP: requests and responses are `waymark.contracts`.

    ControllerClient   SyncControllerClient     next sub-goals
    ExecutorClient     SyncExecutorClient       next actions
    EvaluationClient   SyncEvaluationClient     evaluations on an env-runner

The clients in the left column are for asyncio, those in the right column for plain code. They need httpx and pydantic
alone. A call that meets a service which is starting, overloaded or briefly gone is tried again, with jitter, as long as
its time lasts. Asking twice is safe: decisions change nothing, and an evaluation is submitted under a key. What the
service says is wrong is translated into the error tree once. All methods raise ServiceError.

    calls         what can be asked, and the types of the responses
    retries       when a call is tried again, deadlines, errors: a generator without input or output
    events        the events of an evaluation, without input or output
    clients       what drives these two with asyncio
    clients_sync  the same for plain code, generated from `clients` by `.ci/unasync`
"""

from waymark.clients.api_key import API_KEY
from waymark.clients.services.clients import ControllerClient, EvaluationClient, ExecutorClient, ServiceClient
from waymark.clients.services.clients_sync import (
    SyncControllerClient,
    SyncEvaluationClient,
    SyncExecutorClient,
    SyncServiceClient,
)
from waymark.clients.services.events import ENDED

__all__ = [
    "API_KEY",
    "ENDED",
    "ControllerClient",
    "EvaluationClient",
    "ExecutorClient",
    "ServiceClient",
    "SyncControllerClient",
    "SyncEvaluationClient",
    "SyncExecutorClient",
    "SyncServiceClient",
]
