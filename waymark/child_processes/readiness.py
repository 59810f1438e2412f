"""Checks whether a service is ready, and keeps its answer if it is not."""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from waymark.contracts import Problem
from waymark.errors import StackError

_SECONDS = 5.0
_LARGEST = 100_000
"""Bytes of an answer that are read."""
_LASTING = frozenset({"urn:waymark:job-store-full"})
"""Kinds of problems that waiting does not solve."""


class Readiness:
    """Asks a service whether it is ready. `problem` is its last answer if it was not; empty if there was none."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.problem = ""

    def __call__(self) -> bool:
        """Whether the service is ready. Raises StackError for a problem that waiting does not solve."""
        self.problem = ""
        try:
            answer = httpx.get(f"{self._url}/health/ready", timeout=_SECONDS, trust_env=False)
        except httpx.HTTPError:
            return False
        if answer.status_code == httpx.codes.OK:
            return True
        try:
            problem = Problem.model_validate_json(answer.content[:_LARGEST])
        except ValidationError:
            return False
        self.problem = problem.detail
        if problem.type in _LASTING:
            raise StackError(problem.detail)
        return False


def is_ready(url: str) -> bool:
    """Whether the service at `url` answers that it is ready."""
    try:
        return Readiness(url)()
    except StackError:
        return False
