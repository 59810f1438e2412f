"""Routes of play along. They need a key wherever the other routes do."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import FastAPI, Path, status

from services.env_runner.queue.play_along import PlayQueue
from waymark.agent.rules import check_rules
from waymark.errors import InvalidInput, NotFound
from waymark.evaluation.play_along import PlayRequest, PlayTurn, PlayView
from waymark.serving.middleware import problem_documents
from waymark.worlds.base import World

_SessionId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="As it was answered when it began.")]


def install(app: FastAPI, queue: PlayQueue, world: World, *, most: int, minutes: float) -> None:
    """Give an app these routes; at most `most` sessions are open at once, each for at most `minutes`."""

    @app.post("/v1/play", status_code=status.HTTP_201_CREATED, responses=problem_documents.describe(429))
    def begin(request: PlayRequest) -> PlayView:
        """Begin to play a variation by hand, or ask for the environment's own solution."""
        if not most:
            raise NotFound("Play along is switched off here.", remedy="Set WAYMARK_PLAY_SESSIONS to 1 or more.")
        task = world.find_task(request.task)
        world.check_variation(task, request.variation)
        field = "simplifications" if request.options is None else "options"
        named = getattr(request, field)
        options = world.default_options if named is None else named
        try:
            world.check_options(options, [task])
        except InvalidInput as error:
            error.field = field
            raise
        if request.agent.subgoals not in ("controller", "none"):
            raise InvalidInput(
                f"Play along takes sub-goals of the `controller` or `none`; got {request.agent.subgoals!r}.",
                remedy="Choose one of these.",
                field="agent.subgoals",
            )
        check_rules(request.agent.rules or (), world.agent)
        completed = request.model_copy(update={"task": task.id, "options": None, "simplifications": options})
        view = PlayView(
            id=secrets.token_hex(8), state="waiting", task=task.id, variation=request.variation, agent=request.agent
        )
        queue.begin(view, completed, most=most, seconds=60 * minutes)
        return queue.look(view.id)

    @app.get("/v1/play/{session_id}")
    def look(session_id: _SessionId) -> PlayView:
        """What the session shows now."""
        return queue.look(session_id)

    @app.post(
        "/v1/play/{session_id}/turns", status_code=status.HTTP_202_ACCEPTED, responses=problem_documents.describe(429)
    )
    def decide(session_id: _SessionId, decision: PlayTurn) -> PlayView:
        """Follow a sub-goal, take an action or end the sub-goal. `GET` the session to see what came of it."""
        queue.decide(session_id, decision)
        return queue.look(session_id)

    @app.post("/v1/play/{session_id}/end", status_code=status.HTTP_202_ACCEPTED)
    def end(session_id: _SessionId) -> PlayView:
        """End the session. What was played is saved as a run."""
        queue.decide(session_id, None)
        return queue.look(session_id)
