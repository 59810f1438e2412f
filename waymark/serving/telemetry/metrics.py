"""What a service counts and times, in Prometheus' form at `/metrics`. All metrics and their units are listed here.

    every service
    waymark_request_seconds{route,status}      from a request's arrival to the last byte of its answer, in seconds
    waymark_requests_in_flight                 requests being answered now
    waymark_rejected_total{reason}             requests that were answered with an error, by why (`REASONS`)
    waymark_connections_closed_total{reason}   connections that the service closed: head_too_large, head_timeout,
                                               body_timeout, idle, not_reading (its answer), pipelining, too_many,
                                               replaced, body_in_pieces
    process_*                                  CPU seconds, resident bytes, open files, as prometheus_client has them

    controller and executor
    waymark_queue_requests, waymark_queue_tokens   what waits now, for all models; a request leaves it for the model
    waymark_queue_seconds{model}               wait of a request, for the tokeniser and for a place in a batch
    waymark_tokenise_seconds{model}            rendering and tokenising one request
    waymark_model_seconds{model}               one batch in the model
    waymark_batch_requests{model}              requests in one batch
    waymark_prompt_tokens_total{model}         input tokens that were read, after truncation, padding excluded
    waymark_padded_tokens_total{model}         the same with the padding to each batch's longest prompt
    waymark_completion_tokens_total{model}     tokens of the answers, chosen candidates included
    waymark_truncated_total{model}             requests whose prompt was cut at the checkpoint's limit
    waymark_truncated_tokens_total{model}      tokens that were cut
    waymark_lost_total{model,reason}           work that was given up: full, deadline, gone (its caller), closing

    env-runner
    waymark_episodes{state}                    episodes of evaluations that are not cancelled: waiting, running,
                                               finished, errored; the sum over all that Redis knows

    worker, where WAYMARK_METRICS_PORT names a port (`services.env_runner.worker_metrics`)
    waymark_worker_slots, waymark_worker_slots_in_use   episodes that it can play at once, and that it plays now
    waymark_worker_episodes_total{stopped}     episodes that it committed, by how they stopped (`error`: not finished)
    waymark_worker_actions_total               actions executed in them
    waymark_worker_model_calls_total           questions to controller and executor for them
    waymark_worker_retries_total{reason}       faults of a simulator, which is replaced and its episode played once more
                                               (environment); episodes given back for want of a service (service)

`{model}` is the name that requests use. Each app has a registry of its own, so several live in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus

from fastapi import APIRouter, Header, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from waymark.inference.batching import Answer, Loss, Observer, QueueCapacity

PATH = "/metrics"
REASONS: Mapping[int, str] = {
    401: "no_key",
    404: "not_found",
    405: "method",
    403: "origin",
    413: "too_large",
    415: "media_type",
    421: "host",
    422: "invalid",
    429: "queue_full",
    499: "gone",
    500: "failed",
    503: "unavailable",
    504: "deadline",
}
"""Why a request was rejected, by the status of its answer; others by their number."""
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, that nobody reads
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Requests:
    """What is counted of the requests of any service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._seconds = Histogram(
            "waymark_request_seconds",
            "From a request's arrival to the last byte of its answer.",
            ("route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._in_flight = Gauge("waymark_requests_in_flight", "Requests being answered now.", registry=self.registry)
        self._rejected = Counter(
            "waymark_rejected", "Requests that were answered with an error.", ("reason",), registry=self.registry
        )

        self._closed = Counter(
            "waymark_connections_closed", "Connections that the service closed.", ("reason",), registry=self.registry
        )

    def closed(self, reason: str) -> None:
        """The service closed a connection."""
        self._closed.labels(reason).inc()

    def began(self) -> None:
        """A request is there."""
        self._in_flight.inc()

    def ended(self, route: str, status: int, seconds: float) -> None:
        """It was answered."""
        self._in_flight.dec()
        self._seconds.labels(route, str(status)).observe(seconds)
        if status >= HTTPStatus.BAD_REQUEST:
            self._rejected.labels(REASONS.get(status, str(status))).inc()


class Models:
    """What is counted of the models of one service, in the registry of its requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def seconds(name: str, text: str) -> Histogram:
            return Histogram(name, text, ("model",), buckets=_SECONDS, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ("model", *labels), registry=registry)

        self._registry = registry
        self.queue_seconds = seconds("waymark_queue_seconds", "Wait for the tokeniser and for a place in a batch.")
        self.tokenise_seconds = seconds("waymark_tokenise_seconds", "Rendering and tokenising one request.")
        self.model_seconds = seconds("waymark_model_seconds", "One batch in the model.")
        self.batch_requests = Histogram(
            "waymark_batch_requests", "Requests in one batch.", ("model",), buckets=_BATCH, registry=registry
        )
        self.prompt_tokens = counter("waymark_prompt_tokens", "Input tokens read, padding excluded.")
        self.padded_tokens = counter("waymark_padded_tokens", "Input tokens read, padding included.")
        self.completion_tokens = counter("waymark_completion_tokens", "Tokens of answers, chosen candidates included.")
        self.truncated = counter("waymark_truncated", "Requests whose prompt was cut.")
        self.truncated_tokens = counter("waymark_truncated_tokens", "Tokens that were cut from prompts.")
        self.lost = counter("waymark_lost", "Work that was given up.", "reason")

    def watch(self, capacity: QueueCapacity) -> None:
        """Read what waits whenever somebody asks for the metrics."""
        requests = Gauge("waymark_queue_requests", "Requests that wait now.", registry=self._registry)
        requests.set_function(lambda: capacity.requests)
        tokens = Gauge("waymark_queue_tokens", "Tokens that what waits now costs.", registry=self._registry)
        tokens.set_function(lambda: capacity.tokens)

    def observer(self, model: str) -> Observer:
        """Counts what the batcher of one model tells."""
        return _ModelObserver(self, model)


class _ModelObserver(Observer):
    """Told by the model's thread after a batch was handed over, so no answer waits for it."""

    def __init__(self, models: Models, model: str) -> None:
        self._queue = models.queue_seconds.labels(model)
        self._tokenise = models.tokenise_seconds.labels(model)
        self._model = models.model_seconds.labels(model)
        self._batch = models.batch_requests.labels(model)
        self._prompt = models.prompt_tokens.labels(model)
        self._padded = models.padded_tokens.labels(model)
        self._completion = models.completion_tokens.labels(model)
        self._truncated = models.truncated.labels(model)
        self._truncated_tokens = models.truncated_tokens.labels(model)
        reasons: tuple[Loss, ...] = ("full", "deadline", "gone", "closing")
        self._lost = {reason: models.lost.labels(model, reason) for reason in reasons}

    def ran(self, answers: Sequence[Answer], padded_tokens: int) -> None:
        """A batch went through the model."""
        self._model.observe(answers[0].model_ms / 1000)
        self._batch.observe(len(answers))
        for answer in answers:
            self._queue.observe(answer.queue_ms / 1000)
            self._tokenise.observe(answer.tokenise_ms / 1000)
        generations = [answer.generation for answer in answers]
        self._prompt.inc(sum(generation.prompt_tokens for generation in generations))
        self._padded.inc(padded_tokens)
        self._completion.inc(sum(candidate.tokens for generation in generations for candidate in generation.candidates))
        if any(generation.truncated_tokens for generation in generations):
            self._truncated.inc(sum(generation.truncated_tokens > 0 for generation in generations))
            self._truncated_tokens.inc(sum(generation.truncated_tokens for generation in generations))

    def lost(self, loss: Loss, count: int) -> None:
        """So much work was given up."""
        self._lost[loss].inc(count)


class Episodes(Collector):
    """How many episodes are in which state, asked for whenever somebody asks for the metrics."""

    def __init__(self, count: Callable[[], Mapping[str, int]]) -> None:
        self._count = count

    def collect(self) -> Iterable[Metric]:
        """One gauge with a value a state."""
        family = GaugeMetricFamily("waymark_episodes", "Episodes of evaluations by state.", labels=("state",))
        for state, count in self._count().items():
            family.add_metric((state,), count)
        yield family


def router(registry: CollectorRegistry) -> APIRouter:
    """The route that Prometheus reads. It runs in a thread, because a collector may have to ask somebody."""
    routes = APIRouter(tags=["about"])

    @routes.get(PATH, response_class=Response)
    def metrics(accept: str = Header("", include_in_schema=False)) -> Response:
        """Counts and times for Prometheus."""
        encode, media_type = choose_encoder(accept)
        return Response(encode(registry), headers={"content-type": media_type})

    return routes
