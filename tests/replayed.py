"""A recorded path played by the real episode loop against real services, whose model knows the answers.

The loop, its clients, `/info`, the services and their prompts are real; only the simulator and the weights are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import httpx

from tests.oracle import trajectories
from training.annotations import Annotation, annotate_by_rule
from training.trajectories import Trajectory
from waymark.agent.episode_loop import RequestLimits, run_episode
from waymark.agent.state import StateFold
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import AgentConfig, EpisodeResult, EpisodeSpec, Limits, Opening, Role
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.app import create_app
from waymark.serving.loaded_models import ServedModel, scripted_model
from waymark.serving.settings import Service, ServiceSettings
from waymark.worlds.base import Step
from waymark.worlds.registry import get_format
from waymark.worlds.scienceworld.subgoal_end import is_over

LIMITS = Limits(moves=10_000, turns=1_000)


class RecordedPath:
    """An environment that shows what a recorded path shows, and models that know what the path does next."""

    def __init__(self, path: Trajectory, annotation: Annotation) -> None:
        self._path = path
        self._segments = annotation.segments
        self._segment = -1
        self._taken = 0
        self.prompts: dict[Role, dict[tuple[int, int], str]] = {}
        """Role to the prompts of its model, each by segment and step; a state that is asked twice counts once."""

    # --- the environment

    def reset(self, task_id: str, variation: int, options: str) -> Opening:
        return Opening(task=self._path.task, look=self._path.look, inventory=self._path.inventory)

    def step(self, action: str) -> Step:
        step = self._path.steps[self._taken]
        self._taken += 1
        return Step(
            observation=step.observation,
            look=step.look,
            inventory=step.inventory,
            score=step.score,
            moves=1,
            completed=step.score >= 100,
            known=True,
        )

    def valid_actions(self) -> list[str]:
        raise AssertionError("every action is known")

    def gold_path(self, task_id: str, variation: int, options: str) -> list[str]:
        raise AssertionError("nobody asks for it")

    def close(self) -> None:
        """Nothing is open."""

    # --- the models

    def model(self, role: Role, format_name: str) -> ServedModel:
        """A served model of this role that answers as the path goes on."""
        prompt_format = get_format(format_name)

        def answer(prompt: str) -> Sequence[tuple[str, float]]:
            decision = self._subgoal() if role in ("controller", "first") else self._action(role)
            place = self._segment, self._taken
            assert self.prompts.setdefault(role, {}).setdefault(place, prompt) == prompt
            return [(prompt_format.target(role, decision), 0.0)]

        model = scripted_model("first" if role == "first" else "default", role, ScriptedGenerator(answer))
        changes = {"prompt_format": format_name, "history_turns": prompt_format.history_turns}
        return replace(model, format=prompt_format, info=model.info.model_copy(update=changes))

    def _subgoal(self) -> str:
        if self._segment < 0 or self._taken == self._segments[self._segment].stop:
            self._segment += 1
        return self._segments[self._segment].subgoal

    def _action(self, role: Role) -> str | None:
        ended = role == "executor" and self._taken == self._segments[self._segment].stop
        return None if ended else self._path.steps[self._taken].action


async def play(recorded: RecordedPath, path: Trajectory, formats: Mapping[Role, str]) -> EpisodeResult:
    """Play a path with models of these roles and formats, as a worker does."""
    models = {role: recorded.model(role, name) for role, name in formats.items()}
    acts: Role = "flat" if "flat" in models else "executor"
    names: dict[Service, dict[str, Role]] = {
        "controller": {"default": "controller", "first": "first"},
        "executor": {"default": acts},
    }
    apps = {
        service: create_app(
            service, {name: models[role] for name, role in named.items() if role in models}, ServiceSettings()
        )
        for service, named in names.items()
        if any(role in models for role in named.values())
    }
    spec = EpisodeSpec(
        id="recorded",
        evaluation="recorded",
        task=path.task_id,
        variation=path.variation,
        options=path.simplifications,
        seed=0,
        agent=AgentConfig(subgoals="controller" if "controller" in models else "none", repair=False),
        limits=LIMITS,
    )
    async with AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(app.router.lifespan_context(app))
        executor = ExecutorClient("http://executor", transport=httpx.ASGITransport(apps["executor"]))
        infos = [await executor.info()]
        controller = None
        if "controller" in apps:
            controller = ControllerClient("http://controller", transport=httpx.ASGITransport(apps["controller"]))
            infos.append(await controller.info())
        return await run_episode(spec, recorded, controller, executor, request_limits=RequestLimits.of(infos))


def is_played_as_recorded(path: Trajectory, annotation: Annotation) -> bool:
    """Whether the loop, given the recorded answers, ends no sub-goal before the path does, and takes no detour."""
    if any(step.detour for step in path.steps):
        return False
    fold = StateFold.start(path.task, path.look, path.inventory)
    for segment in annotation.segments:
        fold.give_subgoal(segment.subgoal)
        for step in path.steps[segment.start : segment.stop]:
            if is_over(fold.state):
                return False
            fold.act(step.action, step.observation, step.look, step.inventory, step.score)
        fold.end_subgoal()
    return True


def long_paths(task_ids: Sequence[str], more_turns_than: int) -> list[tuple[Trajectory, Annotation]]:
    """The first path of each of these tasks with more turns than that, which the loop plays as it was recorded."""
    paths: dict[str, tuple[Trajectory, Annotation]] = {}
    for path in trajectories():
        if path.task_id in task_ids and path.task_id not in paths and len(path.steps) > more_turns_than:
            annotation = annotate_by_rule(path)
            if is_played_as_recorded(path, annotation):
                paths[path.task_id] = path, annotation
    return list(paths.values())
