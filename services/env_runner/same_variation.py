"""The scores of other runs on the variation of one episode.

No run is read in full: the requests of the runs say which ones play the variation, and under which episode id.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from services.env_runner.run_library import RunEntry, RunLibrary
from waymark.contracts import Contract, EpisodeResult, EvaluationRequest
from waymark.errors import InvalidInput, NotFound
from waymark.evaluation.requested_episodes import protocol_of, split_of
from waymark.worlds.base import World
from waymark.worlds.registry import get_world

MOST_RUNS: Final = 20
"""Largest number of runs that are listed: the newest ones that have played the variation."""
MOST_LOOKED_AT: Final = 60
"""Largest number of runs whose episode is read."""


class OtherEpisode(Contract):
    """The same variation in another run."""

    run: str
    run_name: str
    """The run's name; its id if it has none."""
    agent_name: str
    episode: str
    """The id of the episode in that run: its best repeat."""
    repeat: int
    score: int
    """In points."""
    success: bool
    created: str
    """When the run began: ISO 8601, UTC."""


class OtherEpisodes(Contract):
    """Answer of `GET /v1/evaluations/{id}/episodes/{episode}/elsewhere`."""

    items: tuple[OtherEpisode, ...]
    """The highest score first; at most 20."""


def other_episodes(library: RunLibrary, run: str, episode: EpisodeResult) -> OtherEpisodes:
    """The episodes of other runs of the same world that played the same variation. Raises JobStoreUnavailable."""
    entries = library.entries()
    world_name = next((entry.world for entry in entries if entry.status.id == run), None)
    if world_name is None:
        return OtherEpisodes(items=())
    world = get_world(world_name)
    candidates = [
        entry
        for entry in entries
        if entry.status.id != run and entry.world == world_name and _plays(entry.status.request, world, episode)
    ]
    others: list[OtherEpisode] = []
    for entry in candidates[:MOST_LOOKED_AT]:
        best = _best_repeat(library, entry, episode)
        if best is not None:
            others.append(best)
        if len(others) == MOST_RUNS:
            break
    return OtherEpisodes(items=tuple(sorted(others, key=lambda other: -other.score)))


def _plays(request: EvaluationRequest, world: World, episode: EpisodeResult) -> bool:
    """Whether a request covers the variation of an episode."""
    if request.tasks is not None and episode.task not in {world.find_task(name).id for name in request.tasks}:
        return False
    if request.variations is not None:
        return episode.variation in request.variations
    protocol = protocol_of(request, world)
    played = protocol.variations_of(world.find_task(episode.task), split_of(request, protocol))
    return episode.variation in played


def _best_repeat(library: RunLibrary, entry: RunEntry, episode: EpisodeResult) -> OtherEpisode | None:
    """The repeat with the highest score that a run has finished; None while there is none."""
    status = entry.status
    results: list[EpisodeResult] = []
    with suppress(NotFound, InvalidInput, OSError):  # a run that cannot be read any more is not shown
        results = library.plays_of(status.id, episode.task, episode.variation)
    played = [result for result in results if result.stopped != "cancelled"]
    if not played:
        return None
    best = max(played, key=lambda result: result.score)
    return OtherEpisode(
        run=status.id,
        run_name=entry.notes.name or status.id,
        agent_name=status.agent_name,
        episode=best.id,
        repeat=best.repeat,
        score=best.score,
        success=best.success,
        created=status.created,
    )
