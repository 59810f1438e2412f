"""When an episode is over by its limits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from waymark.contracts import Limits, Stopped, TurnRecord

REPETITION: Final = (1, 2)
"""Numbers of distinct actions among the last ones that count as repetition."""


def stop_reason(
    turns: Sequence[TurnRecord], limits: Limits, repetition: Collection[int] = REPETITION
) -> Stopped | None:
    """The reason why an episode with these turns is over by its limits, or None. Does not check whether the environment
    has ended the episode.

    A move limit is passed when moves > limit; the score of the turn that passes it counts. The last actions count as
    repetition if the number of distinct ones among them is in `repetition`.
    """
    if not turns:
        return None
    last = turns[-1]
    rules: tuple[tuple[Stopped, bool], ...] = (
        ("failed", last.score < 0),
        ("moves", last.moves > limits.moves),
        ("turns", len(turns) >= limits.turns),
        ("patience", limits.patience is not None and _unchanged(turns, limits.patience)),
        ("patience", limits.repetition is not None and _repeating(turns, limits.repetition, repetition)),
    )
    return next((reason for reason, holds in rules if holds), None)


def _unchanged(turns: Sequence[TurnRecord], patience: int) -> bool:
    return len(turns) >= patience and not any(turn.reward for turn in turns[-patience:])


def _repeating(turns: Sequence[TurnRecord], last: int, repetition: Collection[int]) -> bool:
    actions = [turn.action for turn in turns if turn.action is not None][-last:]
    return len(actions) == last and len(set(actions)) in repetition
