"""The limits of a service from its settings. They are checked before any work is done for a request, and shown in
`/info`.

`body_limit` counts the bytes of a body while it is read; the batcher counts the tokens of prompts and the waiting work.
"""

from __future__ import annotations

from waymark.contracts import ActionRequest, DecisionRequest, ServiceLimits
from waymark.errors import InputTooLarge, InvalidInput
from waymark.serving.settings import ServiceSettings


def limits_of(settings: ServiceSettings) -> ServiceLimits:
    """The limits that settings set."""
    return ServiceLimits(
        items=min(settings.max_items, settings.max_queue),
        turns=settings.max_turns,
        alternatives=settings.max_alternatives,
        candidates=settings.max_candidates,
        input_tokens=settings.max_input_tokens,
        body_bytes=settings.max_body_bytes,
        queue=settings.max_queue,
        queue_tokens=settings.max_queue_tokens,
        queue_seconds=settings.max_queue_seconds,
        request_tokens=settings.max_request_tokens,
    )


def check_items(count: int, limits: ServiceLimits) -> None:
    """Raise InputTooLarge for a list that is too long."""
    if count > limits.items:
        raise too_many_items(count, limits.items)


def too_many_items(count: int | None, limit: int) -> InputTooLarge:
    """The error for a list of `count` requests; None: the number is not known."""
    shown_count = f"{count:,}" if count else "too many"
    return InputTooLarge(
        f"The list has {shown_count} requests, over the limit of {limit}.", remedy="Send several lists.", field=""
    )


def check(request: DecisionRequest, limits: ServiceLimits) -> None:
    """Raise InvalidInput that names the first field over its limit."""
    valid = request.valid_actions if isinstance(request, ActionRequest) else None
    for field, sent, limit in (
        ("n", request.n, limits.alternatives),
        ("state.turns", sum(turn.action is not None for turn in request.state.turns), limits.turns),
        ("valid_actions", len(valid or ()), limits.candidates),
    ):
        if sent > limit:
            raise InvalidInput(
                f"{field} is {sent}, over the limit of {limit}.", remedy="/info lists them.", field=field
            )
