"""What each status of an error looks like on the OpenAPI page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from waymark.contracts import FieldProblem, Problem


def _problem(status: int, kind: str, detail: str, field: str | None = None, message: str = "") -> Problem:
    return Problem(
        type=f"urn:waymark:{kind}",
        title=kind.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        request_id="5f0c9a52b6a84c0f8f3d1e7c2b9d4a60",
        errors=() if field is None else (FieldProblem(field=field, message=message),),
    )


PROBLEMS: Final[Mapping[int, Problem]] = {
    problem.status: problem
    for problem in (
        _problem(401, "unauthorized", "This service asks for an API key. Send `Authorization: Bearer KEY`."),
        _problem(404, "not-found", "There is no evaluation nope. GET /v1/evaluations lists them."),
        _problem(405, "method-not-allowed", "/v1/action does not answer GET; use POST."),
        _problem(413, "input-too-large", "The body is over the limit of 4000000 bytes. Send fewer items or turns."),
        _problem(
            415, "unsupported-media-type", "The body is of no stated type. Send `Content-Type: application/json`."
        ),
        _problem(422, "invalid-input", "state.look: Field required.", "state.look", "Field required"),
        _problem(
            429,
            "queue-full",
            "152 requests with 18103 tokens wait already, for about 0.5 s. Send the request again later.",
        ),
        _problem(500, "internal-error", "The service failed at this request; its log says more under the request id."),
        _problem(503, "service-unavailable", "The controller is starting or shutting down. Try again."),
        _problem(504, "deadline-exceeded", "No answer within the deadline of 50 ms. Allow more time."),
        _problem(
            507, "storage-unavailable", "runs cannot be written: No space left on device. Free space on its disk."
        ),
    )
}
"""What each status of an error looks like."""
