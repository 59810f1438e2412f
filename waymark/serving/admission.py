"""Whether a model service takes a request: it is ready, its models work, and its queue has room.

It is asked before a request's body is read (`middleware.early_refusal`), so that a refusal costs little.
"""

from __future__ import annotations

from collections.abc import Mapping

from waymark.errors import ServiceUnavailable
from waymark.inference import Remote
from waymark.inference.batching import Batcher, QueueCapacity
from waymark.serving.loaded_models import Models
from waymark.serving.middleware.callers import caller
from waymark.serving.settings import Service


class Admission:
    """Admits or refuses the requests to one service."""

    def __init__(
        self, service: Service, models: Models, batchers: Mapping[str, Batcher], capacity: QueueCapacity
    ) -> None:
        self._service = service
        self._models = models
        self._batchers = batchers
        self._capacity = capacity
        self._draining = False
        self.ready = False
        """Whether new requests are answered: not before `open`, not from `drain` on."""

    def open(self) -> None:
        """Admit requests, unless the service is draining."""
        self.ready = not self._draining

    def drain(self) -> None:
        """Admit nothing more. May be called from a signal handler."""
        self._draining = True
        self.ready = False

    def check_ready(self) -> None:
        """Raise ServiceUnavailable while starting or draining."""
        if not self.ready:
            raise ServiceUnavailable(f"The {self._service} is starting or shutting down.", remedy="Try again.")

    def check_models(self) -> None:
        """Raise ServiceUnavailable while a model that runs elsewhere is gone, or if a thread of one has died."""
        self._check_threads()
        for model in self._models.values():
            if isinstance(model.generator, Remote):
                model.generator.check()

    def check_request(self) -> None:
        """Raise ServiceUnavailable or QueueFull at a request that cannot be answered, before it is even read."""
        self.check_ready()
        self._check_threads()
        self._capacity.check(caller())

    def _check_threads(self) -> None:
        for batcher in self._batchers.values():
            batcher.check()
