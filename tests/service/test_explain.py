"""A recorded turn explains itself: the prompts as they were sent, and what else the models considered."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from tests.samples import VERSIONS
from waymark.agent.episode_loop import run_episode
from waymark.agent.named_agents import AGENTS
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import EpisodeResult, EpisodeSpec, Limits, Role, TurnRecord, Versions
from waymark.errors import InvalidInput
from waymark.evaluation.turn_explanation import explain
from waymark.inference.engines.scripted import ScriptedGenerator, trial_policy
from waymark.serving.app import create_app
from waymark.serving.loaded_models import ServedModel, scripted_model
from waymark.serving.settings import ServiceSettings
from waymark.worlds.registry import get_format
from waymark.worlds.scripted.environment import ScriptedEnvironment

pytestmark = pytest.mark.anyio

AGENTS_TRIED = ("hierarchical", "every_step", "flat", "published", "published_flat", "semi_random", "random", "oracle")
FORMATS = ("compact", "seed", "transcript", "seed-imported")


class Sent:
    """What the models read, turn by turn."""

    def __init__(self) -> None:
        self.now: set[tuple[str, str]] = set()
        self.turns: list[set[tuple[str, str]]] = []

    def end_turn(self, _: TurnRecord) -> None:
        self.turns.append(self.now)
        self.now = set()


def model(name: str, role: Role, form: str, sent: Sent) -> ServedModel:
    prompt_format = get_format(form)
    policy = trial_policy(role, prompt_format)

    def answer(prompt: str) -> list[tuple[str, float]]:
        sent.now.add((role, prompt))
        return list(policy(prompt))

    served = scripted_model(name, role, ScriptedGenerator(answer))
    changes = {"prompt_format": form, "history_turns": prompt_format.history_turns}
    return replace(served, format=prompt_format, info=served.info.model_copy(update=changes))


async def play(agent: str, form: str) -> tuple[EpisodeResult, Sent]:
    """One episode against real services over HTTP, in process."""
    sent = Sent()
    controllers = {
        "default": model("default", "controller", form, sent),
        "first": model("first", "first", form, sent),
    }
    executors = {"default": model("default", "executor", form, sent), "flat": model("flat", "flat", form, sent)}
    settings = ServiceSettings(engine="scripted")
    controller, executor = create_app("controller", controllers, settings), create_app("executor", executors, settings)
    spec = EpisodeSpec(
        id="e", evaluation="v", task="4-2", variation=0, options="easy", seed=0, agent=AGENTS[agent],
        limits=Limits(moves=30, turns=30),
    )  # fmt: skip
    flat = agent.endswith("flat")
    versions = Versions.model_validate(
        VERSIONS.model_dump()
        | {
            "controller": controllers["default"].info,
            "first": controllers["first"].info,
            "executor": executors["flat" if flat else "default"].info,
        }
    )
    async with (
        controller.router.lifespan_context(controller),
        executor.router.lifespan_context(executor),
        ControllerClient("http://localhost", transport=httpx.ASGITransport(controller)) as asks,
        ExecutorClient("http://localhost", transport=httpx.ASGITransport(executor)) as acts,
    ):
        sent.now.clear()  # of warming up
        result = await run_episode(spec, ScriptedEnvironment(), asks, acts, on_turn=sent.end_turn)
    return result.model_copy(update={"versions": versions}), sent


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("agent", AGENTS_TRIED)
async def test_prompts_are_rendered_again_byte_for_byte(agent: str, form: str) -> None:
    result, sent = await play(agent, form)
    assert len(result.trajectory) == len(sent.turns) >= 5
    recorded = EpisodeResult.model_validate_json(result.model_dump_json())
    for turn, read in enumerate(sent.turns, start=1):
        rendered = set()
        for explained in explain(recorded, turn).models:
            assert explained.checkpoint is not None
            rendered.add((explained.checkpoint.role, explained.prompt))
        assert rendered == read, f"turn {turn}"


async def test_a_turn_keeps_what_its_models_considered() -> None:
    result, _ = await play("published", "compact")
    first = result.trajectory[0]
    assert [subgoal.text for subgoal in first.subgoals][:1] == [first.subgoal]
    assert 2 <= len(first.actions) <= 6
    assert first.proposed in [action.text for action in first.actions]
    logprobs = [action.logprob for action in first.actions]
    assert logprobs == sorted(logprobs, reverse=True)
    assert explain(result, 1).models[0].asked == "first"
    assert explain(result, 2).models[0].asked == "controller"


async def test_a_turn_that_is_not_there_is_refused() -> None:
    result, _ = await play("flat", "compact")
    for turn in (0, len(result.trajectory) + 1):
        with pytest.raises(InvalidInput, match="has turns 1 to"):
            explain(result, turn)


async def test_an_old_result_without_alternatives_opens() -> None:
    result, _ = await play("flat", "compact")
    old = result.model_dump(mode="json", exclude={"trajectory": {"__all__": {"subgoals", "actions", "rules"}}})
    opened = EpisodeResult.model_validate(old)
    assert opened.trajectory[0].actions == ()
    assert explain(opened, 1).models[0].prompt == explain(result, 1).models[0].prompt
