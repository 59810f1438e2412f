"""Examples of the dashboard's routes for the OpenAPI page, in the form of `waymark.serving.api.examples`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.env_runner.dashboard_routes import Failures, Options
from services.env_runner.run_library import RunEntry, RunList
from services.env_runner.run_notes import RunNotes
from services.env_runner.same_variation import OtherEpisode, OtherEpisodes
from services.env_runner.world_routes import WorldInfo, Worlds, describe
from waymark.agent.named_agents import AGENTS
from waymark.contracts import AgentConfig, Considered, EvaluationRequest
from waymark.evaluation.comparison import Run
from waymark.evaluation.failure_modes import failure_modes
from waymark.evaluation.play_along import PlayRequest, PlayTurn, PlayView
from waymark.evaluation.run_differences import RunComparison, compare_runs
from waymark.evaluation.turn_explanation import TurnExplanation, explain
from waymark.serving.api.examples import FINISHED, PLAYED, START, Shown
from waymark.worlds.registry import DEFAULT_WORLD, get_world

_NOTES: Final = RunNotes(name="First try", tags=("paper",), note="Before the new executor.")
_SESSION: Final = "3f9a1c5d7e8b2046"
_FAILED: Final = PLAYED.without_trajectory().model_copy(
    update={"score": 17, "raw_score": 17, "success": False, "stopped": "moves", "id": f"{PLAYED.id}_r1"}
)


def _comparison() -> RunComparison:
    request = EvaluationRequest(tasks=("4-2",))
    flat = request.model_copy(update={"agent": AGENTS["flat"]})
    return compare_runs(
        [Run("first", request, None, [PLAYED.without_trajectory()]), Run("second", flat, None, [_FAILED])]
    )


def _explanation() -> TurnExplanation:
    return explain(PLAYED, 1)


def _world() -> WorldInfo:
    """ScienceWorld with one task, one protocol and one rule."""
    world = describe(get_world(DEFAULT_WORLD))
    tasks = tuple(task for task in world.tasks if task.id == "4-2")
    short = {"tasks": tasks, "protocols": world.protocols[:1], "rules": world.rules[:1], "groups": ("short",)}
    return world.model_copy(update=short)


_WORLD: Final = _world()
_OTHER: Final = OtherEpisode(
    run="20261128-120000-quick-a1b2c3",
    run_name="With a new executor",
    agent_name="flat",
    episode=PLAYED.id,
    repeat=0,
    score=100,
    success=True,
    created="2026-11-28T12:00:00.000+00:00",
)
_VIEW: Final = PlayView(
    id=_SESSION,
    state="ready",
    task="4-2",
    variation=225,
    agent=AgentConfig(),
    description=START.task,
    look=START.look,
    inventory=START.inventory,
    subgoals=(Considered("navigate_to(living room)", -0.012),),
    valid=("look around", "teleport to living room"),
    seconds_left=1_790,
)

ROUTES: Final[Mapping[str, Shown]] = {
    "GET /v1/runs": Shown({"one run": RunList(items=(RunEntry(status=FINISHED, notes=_NOTES, on_disk_only=False),))}),
    "GET /v1/runs/{run_id}/notes": Shown({"with a tag": _NOTES}),
    "PUT /v1/runs/{run_id}/notes": Shown({"with a tag": _NOTES}, requests={"with a tag": _NOTES}),
    "GET /v1/evaluations/{evaluation_id}/episodes/{episode_id}/turns/{turn}": Shown({"its first": _explanation()}),
    "GET /v1/evaluations/{evaluation_id}/failures": Shown({"one mode": Failures(items=failure_modes([_FAILED]))}),
    "GET /v1/comparison": Shown({"two runs": _comparison()}),
    "GET /v1/options": Shown(
        {
            "shortened": Options(
                can_play=True,
                tasks=_WORLD.tasks,
                groups=_WORLD.groups,
                protocols=_WORLD.protocols,
                agents={"hierarchical": AgentConfig()},
                defaults=EvaluationRequest(),
            )
        }
    ),
    "GET /v1/worlds": Shown({"shortened": Worlds(items=(_WORLD,))}),
    "GET /v1/worlds/{world}": Shown({"shortened": _WORLD}),
    "GET /v1/evaluations/{evaluation_id}/episodes/{episode_id}/elsewhere": Shown(
        {"one other run": OtherEpisodes(items=(_OTHER,))}
    ),
    "POST /v1/play": Shown(
        {
            "it waits for a worker": PlayView(
                id=_SESSION, state="waiting", task="4-2", variation=225, agent=AgentConfig()
            )
        },
        requests={
            "with the agent's help": PlayRequest(task="4-2", variation=225),
            "the environment's own solution": PlayRequest(task="4-2", variation=225, oracle=True),
        },
    ),
    "GET /v1/play/{session_id}": Shown({"the first turn": _VIEW}),
    "POST /v1/play/{session_id}/turns": Shown(
        {"taken": _VIEW},
        requests={
            "follow a sub-goal": PlayTurn(kind="subgoal", text="navigate_to(living room)", turn=1),
            "take an action": PlayTurn(kind="action", text="teleport to living room", turn=1),
            "end the sub-goal": PlayTurn(kind="end_subgoal", turn=2),
        },
    ),
    "POST /v1/play/{session_id}/end": Shown({"it will end": _VIEW}),
}
