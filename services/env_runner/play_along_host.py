"""Plays sessions of play along inside a worker, on a slot of its own.

A worker hosts one session at a time, in an environment that is opened for it and closed after it. So sessions never
take a slot from evaluations. A session ends when its time is over, when nobody has decided anything for a while, or
when its person ends it; it is then saved as a run of one episode.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.queue.play_along import PlayQueue
from waymark.agent.model_ports import RequestLimits
from waymark.agent.running_episode import Play
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import EpisodeSpec, EvaluationRequest, Limits, ServiceInfo, Versions
from waymark.errors import InvalidInput, JobStoreUnavailable, NotFound, RecordDamaged, WaymarkError
from waymark.evaluation.play_along import BY_HAND, HandPlay, PlayRequest, PlayTurn, PlayView
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import Evaluation
from waymark.worlds.base import Environment
from waymark.worlds.registry import world_of

IDLE_SECONDS: Final = 300.0
"""Seconds that a session waits for a decision."""
_WAIT_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 2.0
_LIMITS: Final = Limits(moves=10_000, turns=1_000)
_log = logging.getLogger(__name__)


class PlayHost:
    """Takes sessions from the queue, one after another, until it is cancelled."""

    def __init__(
        self,
        queue: PlayQueue,
        store: JobStore,
        controller: ControllerClient,
        executor: ExecutorClient,
        open_environment: Callable[[], Environment],
        provenance: Provenance,
        *,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._queue = queue
        self._store = store
        self._controller = controller
        self._executor = executor
        self._open_environment = open_environment
        self._provenance = provenance
        self._world = world_of(provenance.environment)
        self._idle_seconds = idle_seconds
        self._view: PlayView
        """Of the session under way, as it was shown last."""

    async def run(self) -> None:
        """Host sessions. An error in a session ends only that session."""
        damage = ""
        while True:
            try:
                taken = await asyncio.to_thread(self._queue.take, _WAIT_SECONDS)
                damage = ""
                if taken is not None:
                    await self._host(*taken)
            except JobStoreUnavailable:  # the worker's own loop tells of it
                await asyncio.sleep(_PAUSE_SECONDS)
            except RecordDamaged as error:  # logged once, until a session can be taken again
                if error.message != damage:
                    damage = error.message
                    _log.error("A session of play along cannot be taken: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
            except Exception:  # noqa: BLE001 - a session must never end the worker that plays evaluations
                _log.exception("A session of play along failed")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _host(self, view: PlayView, request: PlayRequest) -> None:
        self._view = view
        environment: Environment | None = None
        try:
            await self._show(state="opening")
            environment = await asyncio.to_thread(self._open_environment)
            if request.oracle:
                options = request.simplifications or ""
                path = await asyncio.to_thread(environment.gold_path, request.task, request.variation, options)
                await self._show(oracle=tuple(path))
            else:
                await self._play(request, environment)
            await self._show(state="ended")
        except WaymarkError as error:
            await self._show(state="ended", problem=str(error))
        except Exception as error:
            await self._show(state="ended", problem=f"The session failed: {error}")
            raise
        except BaseException:
            with suppress(WaymarkError):
                await self._show(state="ended", problem="The worker was stopped.")
            raise
        finally:
            if environment is not None:
                with suppress(WaymarkError, OSError):
                    await asyncio.to_thread(environment.close)
            with suppress(JobStoreUnavailable, RecordDamaged):
                await asyncio.to_thread(self._queue.close_session, view.id)

    async def _play(self, request: PlayRequest, environment: Environment) -> None:
        """Play a session to its end and save it, even if it ends with an error."""
        services = (await self._controller.info(), await self._executor.info())
        evaluation, spec = self._evaluation(request, services)
        limits = RequestLimits.of(services)
        hand = HandPlay(Play(spec, environment, self._controller, self._executor, None, limits, self._world.agent))
        await hand.open()
        try:
            await self._follow(hand)
        finally:
            self._view = hand.show(self._view)
            if self._view.turns:
                result = hand.result("cancelled").model_copy(update={"versions": evaluation.versions})
                await asyncio.to_thread(self._store.restore, evaluation, [spec], [result])
                self._view = self._view.model_copy(update={"run": evaluation.id})

    async def _follow(self, hand: HandPlay) -> None:
        """Do what the person decides until the episode is over or the session is to end."""
        while not hand.over:
            self._view = hand.show(self._view)
            await self._show()
            try:
                decision = await self._next()
            except TimeoutError:
                self._view = self._view.model_copy(update={"problem": "The session has timed out."})
                return
            if decision is None:
                return
            await self._show(state="thinking")
            problem = None
            try:
                await hand.decide(decision)
            except InvalidInput as error:
                problem = str(error)
            self._view = self._view.model_copy(update={"problem": problem})

    async def _next(self) -> PlayTurn | None:
        """The next decision; None: end the session. Raises TimeoutError if the session lasts too long or waits too
        long.
        """
        began = time.monotonic()
        while time.monotonic() - began < self._idle_seconds:
            if (await asyncio.to_thread(self._queue.look, self._view.id)).state == "ended":
                raise TimeoutError
            with suppress(TimeoutError):
                return await asyncio.to_thread(self._queue.next_decision, self._view.id, _WAIT_SECONDS)
        raise TimeoutError

    def _evaluation(
        self, request: PlayRequest, services: tuple[ServiceInfo, ServiceInfo]
    ) -> tuple[Evaluation, EpisodeSpec]:
        """The run that the session will be, and its one episode. Raises InvalidInput."""
        now = datetime.now(UTC)
        name = f"{now:%Y%m%d-%H%M%S}{BY_HAND}{secrets.token_hex(3)}"
        evaluation_request = EvaluationRequest(
            tasks=(request.task,),
            variations=(request.variation,),
            agent=request.agent,
            options=request.simplifications,
            limits=_LIMITS,
        )
        versions: Versions = self._provenance.versions(request.agent, *services)
        (spec,) = episodes(name, evaluation_request, self._world)
        created = now.isoformat(timespec="milliseconds")
        return Evaluation(id=name, request=evaluation_request, created=created, versions=versions, episodes=1), spec

    async def _show(self, **changes: object) -> None:
        self._view = self._view.model_copy(update=changes)
        with suppress(NotFound):
            await asyncio.to_thread(self._queue.show, self._view)
