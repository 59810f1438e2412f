"""When an episode is over by its limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from waymark.contracts import Limits, TurnRecord

Stopped = Literal["completed", "failed", "moves", "turns", "patience", "error", "cancelled"]

DISTINCT_ACTIONS: Final = 2
"""At most this many distinct actions in a row count as repetition."""


def stop_reason(turns: Sequence[TurnRecord], limits: Limits) -> Stopped | None:
    """Why an episode with these turns is over by its limits, or None. Knows nothing of the environment's own end.

    A move limit is passed when moves > limit; the score of the turn that passes it counts.
    """
    if not turns:
        return None
    last = turns[-1]
    rules: tuple[tuple[Stopped, bool], ...] = (
        ("failed", last.score < 0),
        ("moves", last.moves > limits.moves),
        ("turns", len(turns) >= limits.turns),
        ("patience", limits.patience is not None and _unchanged(turns, limits.patience)),
        ("patience", limits.repetition is not None and _repeating(turns, limits.repetition)),
    )
    return next((reason for reason, holds in rules if holds), None)


def _unchanged(turns: Sequence[TurnRecord], patience: int) -> bool:
    return len(turns) >= patience and not any(turn.reward for turn in turns[-patience:])


def _repeating(turns: Sequence[TurnRecord], repetition: int) -> bool:
    actions = [turn.action for turn in turns if turn.action is not None][-repetition:]
    return len(actions) == repetition and len(set(actions)) <= DISTINCT_ACTIONS
