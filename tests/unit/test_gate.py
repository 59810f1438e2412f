"""No answer of another checkpoint gets past the gate; the episode waits for the right one."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from services.env_runner.checkpoint_gate import CheckedController, CheckedExecutor, Gate, Refusals
from tests.answers import action_answer, subgoal_answer
from tests.samples import CONTROLLER, EXECUTOR, VERSIONS
from waymark.contracts import (
    ActionAlternative,
    ActionResponse,
    AgentState,
    CheckpointMismatch,
    MadeBy,
    SubgoalAlternative,
    SubgoalResponse,
    Turn,
    Versions,
)
from waymark.errors import WrongCheckpoint
from waymark.evaluation.checkpoint_identity import Difference

pytestmark = pytest.mark.anyio
RIGHT, WRONG, FIRST = "a" * 64, "b" * 64, "f" * 64
OURS = VERSIONS.model_copy(
    update={
        "controller": CONTROLLER.model_copy(update={"sha256": RIGHT}),
        "executor": EXECUTOR.model_copy(update={"sha256": RIGHT}),
    }
)
WITH_FIRST = OURS.model_copy(update={"first": CONTROLLER.model_copy(update={"role": "first", "sha256": FIRST})})
START = AgentState(task="t", look="l")
LATER = START.model_copy(update={"turns": (Turn(action="wait", observation="o"),)})


class Services:
    """Answer by these checkpoints in turn, the last one again and again."""

    def __init__(self, *shas: str | None, runtime: str | None = "scripted none") -> None:
        self._shas = list(shas)
        self._runtime = runtime
        self.asked = 0

    def _next(self) -> str | None:
        self.asked += 1
        return self._shas[min(self.asked, len(self._shas)) - 1]

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        alternative = SubgoalAlternative(subgoal="x()", logprob=-1, mean_logprob=-1)
        return subgoal_answer(alternative, model=model, checkpoint_sha256=self._next(), runtime=self._runtime)

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: object = None
    ) -> ActionResponse:
        alternative = ActionAlternative(action="wait", ended_subgoal=False, logprob=-1, mean_logprob=-1)
        return action_answer(alternative, model=model, checkpoint_sha256=self._next(), runtime=self._runtime)


class Site:
    """A gate and what it reports."""

    def __init__(self, versions: Versions = OURS, *, wait_seconds: float = 60.0, stop_after: int = 1_000) -> None:
        self.reports: list[CheckpointMismatch | None] = []
        stops: Iterator[bool] = iter([False] * stop_after + [True] * 9)
        self.gate = Gate(
            versions,
            episode="e",
            worker="w",
            report=self._report,
            should_stop=lambda: next(stops),
            wait_seconds=wait_seconds,
        )

    async def _report(self, mismatch: CheckpointMismatch | None) -> None:
        self.reports.append(mismatch)


async def test_the_right_checkpoint_passes_and_is_noted() -> None:
    site, services = Site(), Services(RIGHT)
    await CheckedExecutor(services, site.gate).action(START)
    await CheckedController(services, site.gate, OURS).subgoal(START)
    assert (site.reports, site.gate.made_by) == ([], MadeBy(controller=RIGHT[:12], executor=RIGHT[:12]))


async def test_another_checkpoint_is_asked_again_until_the_right_one_answers(caplog: pytest.LogCaptureFixture) -> None:
    site, services = Site(), Services(WRONG, WRONG, RIGHT)
    answer = await CheckedExecutor(services, site.gate).action(START)
    assert (answer.checkpoint_sha256, services.asked) == (RIGHT, 3)
    assert site.reports[0] is not None
    assert site.reports == [site.reports[0], site.reports[0], None]
    for text in (str(site.reports[0]), caplog.text):
        assert RIGHT[:12] in text
        assert WRONG[:12] in text
    assert "goes on" in caplog.text
    assert site.gate.made_by == MadeBy(executor=RIGHT[:12])


async def test_the_same_weights_on_another_engine_do_not_pass() -> None:
    site = Site(wait_seconds=0)
    with pytest.raises(WrongCheckpoint, match="ctranslate2 int8"):
        await CheckedExecutor(Services(RIGHT, runtime="ctranslate2 int8"), site.gate).action(START)


@pytest.mark.parametrize("site", [Site(wait_seconds=0.3), Site(stop_after=2)])
async def test_a_paused_episode_ends_at_its_limit_or_stop(site: Site) -> None:
    with anyio.fail_after(20), pytest.raises(WrongCheckpoint):
        await CheckedExecutor(Services(WRONG), site.gate).action(START)
    assert site.reports[-1] is not None


async def test_answers_with_or_without_an_unexpected_first_model_are_refused() -> None:
    with pytest.raises(WrongCheckpoint):
        await CheckedController(Services(FIRST), Site(wait_seconds=0).gate, OURS).subgoal(START)
    site = Site(WITH_FIRST)
    passing = CheckedController(Services(FIRST, RIGHT), site.gate, WITH_FIRST)
    await passing.subgoal(START)
    await passing.subgoal(LATER)
    assert site.gate.made_by == MadeBy(first=FIRST[:12], controller=RIGHT[:12])
    swapped = CheckedController(Services(RIGHT, FIRST), site.gate, WITH_FIRST)
    await swapped.subgoal(START)
    assert site.reports[-1] is None
    assert len(site.reports) == 2


async def test_an_older_server_that_names_no_checkpoint_is_noted() -> None:
    site = Site()
    await CheckedExecutor(Services(None, runtime=None), site.gate).action(START)
    assert site.gate.unnamed
    assert site.gate.made_by == MadeBy()


def test_a_refused_evaluation_is_named_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals("w")
    first = refusals.add("e", Difference("executor", "a", "b"))
    assert refusals.add("e", Difference("executor", "a", "b")) == first
    assert (refusals.current(), caplog.text.count("left to other workers")) == (["e"], 1)
    assert refusals.remove("e")
    assert not refusals.remove("e")
    assert refusals.current() == []
