"""Groups failed episodes by mode, each with an example.

A mode says how an episode ended and whether it had points. The example is the first episode of its mode in task order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from waymark.contracts import Contract, EpisodeResult
from waymark.evaluation.scores import name_of_episode

_ENDS: Final = {
    "failed": "Failed: the score went negative",
    "moves": "Out of moves",
    "turns": "Out of turns",
    "patience": "Gave up without progress",
    "completed": "The environment ended the episode",
    "cancelled": "Cancelled",
}


class FailureMode(Contract):
    """Episodes that failed in the same way."""

    name: str
    """E.g. `Out of moves, without a point`."""
    detail: str = ""
    """The message of the first error; empty for a mode without errors."""
    episodes: tuple[str, ...]
    """Their names, e.g. `1-1/21`."""
    tasks: dict[str, int]
    """Number of episodes by task id."""
    example: str
    """The id of an example episode."""


def failure_modes(results: Iterable[EpisodeResult]) -> tuple[FailureMode, ...]:
    """The modes of all episodes that did not reach 100, the most frequent first. Turns are not needed.

    Cancelled episodes do not count, as in every other figure.
    """
    by_mode: dict[str, list[EpisodeResult]] = {}
    for result in results:
        if not result.success and result.stopped != "cancelled":
            by_mode.setdefault(mode_of(result), []).append(result)
    modes = []
    for name, failed in sorted(by_mode.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        tasks: dict[str, int] = {}
        for result in failed:
            tasks[result.task] = tasks.get(result.task, 0) + 1
        modes.append(
            FailureMode(
                name=name,
                detail=failed[0].error.message if failed[0].error else "",
                episodes=tuple(map(name_of_episode, failed)),
                tasks=tasks,
                example=failed[0].id,
            )
        )
    return tuple(modes)


def last_gain(result: EpisodeResult) -> int | None:
    """The number of the last turn that raised the score; None if none did."""
    return next((turn.turn for turn in reversed(result.trajectory) if turn.reward > 0), None)


def mode_of(result: EpisodeResult) -> str:
    """How an episode that was not solved ended, e.g. `Out of moves, without a point`."""
    if result.error is not None:
        return f"Error: {result.error.kind}"
    if result.stopped == "failed":
        return _ENDS["failed"]
    reached = "without a point" if result.raw_score == 0 else "with some points"
    return f"{_ENDS[result.stopped]}, {reached}"
