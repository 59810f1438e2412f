"""The error tree. Every error that a user can meet is here, named after the boundary that failed.

    WaymarkError
    ├── InvalidInput              what came in is wrong; names the field and the remedy      (HTTP 422)
    │   ├── UnparsableAction      a string that is no action of the grammar
    │   ├── InputTooLarge         over a stated limit                                        (HTTP 413)
    │   ├── HostRefused           addressed by a name that the service does not answer to    (HTTP 421)
    │   └── OriginRefused         asked for by a web page of another host                    (HTTP 403)
    ├── NotFound                  no such evaluation, episode or checkpoint                  (HTTP 404)
    ├── CheckpointError           missing, truncated, foreign or contradicting its card
    ├── EngineUnavailable         the engine's package or hardware is absent
    ├── EnvironmentFault          the simulator hung, died or refused
    │   ├── JavaMissing           no Java to run it with
    │   └── SimulatorNotStarted   it ended or was killed while it started, several times
    ├── EpisodeAbandoned          handed out several times and never finished
    ├── EpisodeFailed             a mistake in the code stopped it
    ├── ServiceError              a call to one of our services failed
    │   ├── ServiceUnavailable    not reachable, starting or draining                        (HTTP 503)
    │   │   ├── ControllerUnavailable
    │   │   ├── ExecutorUnavailable
    │   │   └── QueueFull         overloaded                                                 (HTTP 429)
    │   ├── Unauthorized          no key, or none that the service knows                     (HTTP 401)
    │   ├── WrongCheckpoint       the service answers with other weights than the evaluation was submitted for
    │   ├── DeadlineExceeded      the answer came too late or not at all                     (HTTP 504)
    │   ├── ServiceRejected       the service answered 4xx: our request was wrong
    │   ├── EndpointUnusable      a model's endpoint cannot be used at all: wrong address, key or name
    │   └── PlannerFailed         the endpoint that plans an episode gave no answer
    ├── PlanUnreadable            a large model's answer holds no plan of sub-goals
    ├── AnnotationFailed          a model's answers cannot be made into one path's sub-goals
    ├── TrainingDiverged          a loss, gradient or weight is not finite
    ├── JobStoreUnavailable       Redis cannot be reached or refuses                         (HTTP 503)
    │   └── JobStoreFull          Redis has no room, or cannot write to its disk             (HTTP 503)
    ├── RecordDamaged             what Redis holds of one evaluation cannot be read          (HTTP 503)
    ├── StorageUnavailable        a run folder, or the disk under it, cannot be written      (HTTP 507)
    └── StackError                the local stack could not start, or a part of it died
        └── PortInUse

An error carries one sentence that says what is wrong and, in `remedy`, one that says what to do.
"""

from __future__ import annotations


class WaymarkError(Exception):
    """Base of all errors of this package.

    `field` is the path of the offending input (`state.turns.3.action`), when there is one.
    """

    def __init__(self, message: str, *, remedy: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.field = field

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    @property
    def kind(self) -> str:
        """The error's type as it stands in results and problem documents."""
        return type(self).__name__


class InvalidInput(WaymarkError):
    """The input is wrong; `field` names where."""


class UnparsableAction(InvalidInput):
    """A string that no template of the action grammar covers."""


class InputTooLarge(InvalidInput):
    """The input is over a stated limit."""


class HostRefused(InvalidInput):
    """The request names a host that the service does not answer to."""


class OriginRefused(InvalidInput):
    """A web page of another host asks."""


class NotFound(WaymarkError):
    """Nothing of that name is here."""


class CheckpointError(WaymarkError):
    """A checkpoint folder cannot be served as it is."""


class EngineUnavailable(WaymarkError):
    """The engine asked for cannot run here."""


class EnvironmentFault(WaymarkError):
    """The simulator hung, died or refused; the episode is lost, the worker is not."""


class JavaMissing(EnvironmentFault):
    """No Java was found to run the simulator with."""


class SimulatorNotStarted(EnvironmentFault):
    """The simulator ended while it started. `killed`: by somebody else, for example for want of memory."""

    def __init__(self, message: str, *, remedy: str = "", field: str | None = None, killed: bool = False) -> None:
        super().__init__(message, remedy=remedy, field=field)
        self.killed = killed


class EpisodeAbandoned(WaymarkError):
    """An episode was handed out several times, and no worker finished it."""


class EpisodeFailed(WaymarkError):
    """An episode met an error that no part of Waymark expects; other episodes go on."""


class ServiceError(WaymarkError):
    """A call to a service failed."""


class Unauthorized(ServiceError):
    """The request holds no API key, or one that is not valid."""


class ServiceUnavailable(ServiceError):
    """The service cannot answer now; the same call may succeed after about `retry_seconds`."""

    def __init__(self, message: str, *, remedy: str = "", field: str | None = None, retry_seconds: int = 1) -> None:
        super().__init__(message, remedy=remedy, field=field)
        self.retry_seconds = retry_seconds


class ControllerUnavailable(ServiceUnavailable):
    """The controller cannot answer now."""


class ExecutorUnavailable(ServiceUnavailable):
    """The executor cannot answer now."""


class QueueFull(ServiceUnavailable):
    """More requests wait than the service admits."""


class DeadlineExceeded(ServiceError):
    """The answer did not come within its deadline."""


class WrongCheckpoint(ServiceError):
    """The service answers with another checkpoint than the evaluation was submitted for."""


class ServiceRejected(ServiceError):
    """The service says that the request is wrong; the same call will fail again."""


class EndpointUnusable(ServiceError):
    """A model's endpoint cannot be used at all; every other request would fail like this one."""


class PlannerFailed(ServiceError):
    """The endpoint that is asked for an episode's plan gave no answer, however often it was tried."""


class PlanUnreadable(WaymarkError):
    """A large model's answer holds no plan of sub-goals; other episodes go on."""


class AnnotationFailed(WaymarkError):
    """A model's answers cannot be made into the sub-goals of one path; other paths go on."""


class TrainingDiverged(WaymarkError):
    """A loss, a gradient or a weight is not finite; the weights that were kept before are untouched."""


class JobStoreUnavailable(WaymarkError):
    """Redis cannot be reached or refuses."""


class JobStoreFull(JobStoreUnavailable):
    """Redis refuses to write: its disk or its memory is full."""


class RecordDamaged(WaymarkError):
    """What Redis holds of one evaluation cannot be read; others are not affected."""


class StorageUnavailable(WaymarkError):
    """A folder that results belong into cannot be written."""


class VersionMismatch(WaymarkError):
    """Two parts of Waymark are of versions that do not work together."""


class StackError(WaymarkError):
    """The local stack could not be started, or a part of it died. `misconfigured`: because of its settings."""

    def __init__(
        self, message: str, *, remedy: str = "", field: str | None = None, misconfigured: bool = False
    ) -> None:
        super().__init__(message, remedy=remedy, field=field)
        self.misconfigured = misconfigured


class PortInUse(StackError):
    """Another process listens on a port that a service needs."""
