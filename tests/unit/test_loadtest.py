"""Load tests on scripted services: what counts as latency, what as an answer, and when a test ends."""

from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.record_sample import KEPT, choose
from tests.samples import evaluation, result
from waymark.agent.replay import moments
from waymark.cli.local_stack import CHECKPOINTS
from waymark.contracts import AgentConfig, AgentState, EpisodeResult, Opening, TurnRecord
from waymark.errors import InvalidInput
from waymark.evaluation.run_folder import RunFolder
from waymark.inference import checkpoint
from waymark.loadtest import load_report, load_tables, request_bodies, sample_states, saturation_curve
from waymark.loadtest.load_loops import Load, Outcome, Samples, Send, drive, schedule
from waymark.loadtest.load_report import LoadReport, Stage, Target
from waymark.loadtest.load_stages import RAMP, measure, plan
from waymark.loadtest.sample_states import missing_turns
from waymark.worlds.registry import get_format
from waymark.worlds.scienceworld.tasks import TASKS, find_task

pytestmark = pytest.mark.anyio

ENDLESS = 3_600.0
EXECUTOR = Target(url="http://s", service="executor", path="/v1/action", model="default", prompt_format="compact")
SHIPPED = ("controller", "executor")
OPEN = Load(rate=1_000, concurrency=None, seconds=ENDLESS, requests=50, arrivals="constant")


async def done(load: Load, send: Send, stop: asyncio.Event | None = None) -> Samples:
    samples = Samples(began=asyncio.get_running_loop().time())
    await drive(send, load, samples, stop=stop or asyncio.Event())
    return samples


async def ok(_: int) -> Outcome:
    await asyncio.sleep(0)
    return 200


async def test_a_stall_is_charged_for_every_request_due_meanwhile() -> None:
    arrived = []
    all_there = asyncio.Event()

    async def stalled(number: int) -> Outcome:
        arrived.append(number)
        if len(arrived) == OPEN.requests:
            all_there.set()
        await all_there.wait()
        return 200

    samples = await done(OPEN, stalled)
    assert arrived == list(range(OPEN.requests))  # none waited for the answer to another
    assert min(samples.ended) > max(samples.due)
    latencies = {number: end - due for number, end, due in zip(samples.number, samples.ended, samples.due, strict=True)}
    assert latencies[0] == max(latencies.values())


async def test_a_generator_that_stalls_charges_its_own_lateness_too() -> None:
    free_again = 0.0

    async def blocking(number: int) -> Outcome:
        nonlocal free_again
        if number == 0:
            time.sleep(0.05)  # noqa: ASYNC251 - holds the loop that should send the others
            free_again = asyncio.get_running_loop().time()
        return 200

    samples = await done(OPEN, blocking)
    held_up = [place for place, due in enumerate(samples.due) if samples.due[0] < due < free_again]
    assert len(held_up) > 10
    for place in held_up:
        assert samples.ended[place] - samples.due[place] >= free_again - samples.due[place]
    stage = load_report.stage(OPEN, samples, run="r")
    assert stage.latency_ms.mean is not None
    assert stage.service_ms.mean is not None
    assert stage.latency_ms.mean > stage.service_ms.mean


async def test_a_closed_loop_respects_its_concurrency() -> None:
    numbers: list[int] = []
    under_way, most = 0, 0

    async def send(number: int) -> Outcome:
        nonlocal under_way, most
        numbers.append(number)
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return 200

    samples = await done(Load(None, 4, ENDLESS, 30), send)
    assert sorted(numbers) == list(range(30)) == sorted(samples.number)
    assert most == 4


def test_arrivals_are_even_or_random_bounded_and_repeatable() -> None:
    assert list(schedule(Load(4, None, 1.0, 100, "constant"), 0)) == [0.0, 0.25, 0.5, 0.75]
    random = list(schedule(Load(1_000, None, 5.0, 10_000_000), 7))
    assert random == list(schedule(Load(1_000, None, 5.0, 10_000_000), 7))
    assert max(random) < 5.0
    gaps = np.diff(random)
    assert np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.1)  # as an exponential distribution has it
    assert len(list(schedule(Load(1_000, None, 5.0, 10), 7))) == 10


async def test_refusals_and_errors_are_counted_apart_from_answers() -> None:
    outcomes: list[Outcome] = [200, 429, 503, 504, 500, "timeout"]

    async def send(number: int) -> Outcome:
        return outcomes[number % 6]

    load = Load(None, 2, ENDLESS, 60)
    stage = load_report.stage(load, await done(load, send), run="r")
    assert (stage.sent, stage.answered, stage.unanswered) == (60, 10, 0)
    assert stage.refused == {"429": 10, "503": 10, "504": 10}
    assert stage.errors == {"500": 10, "timeout": 10}
    assert (stage.latency_ms.count, stage.refused_ms.count) == (10, 30)
    assert {int(slow.request_id.removeprefix("r-")) % 6 for slow in stage.slowest} == {0}


async def test_a_stopped_test_reports_its_measurements() -> None:
    stop = asyncio.Event()

    async def send(number: int) -> Outcome:
        if number == 5:
            stop.set()
        if number >= 4:
            await asyncio.Event().wait()
        return 200

    plan_ = plan(rates=[1_000, 2_000], seconds=ENDLESS, requests=1_000)
    stages = [stage async for stage in measure(send, plan_, run="r", seed=0, stop=stop)]
    (stage,) = stages
    assert stage.answered == 4
    assert stage.sent == stage.answered + stage.unanswered
    assert stage.sent < 1_000


def test_percentiles_are_latencies_that_some_request_had() -> None:
    quantiles = load_report.quantiles(np.arange(1_000, 0, -1, dtype=np.float64))
    assert (quantiles.p50, quantiles.p90, quantiles.p99, quantiles.p999, quantiles.max) == (500, 900, 990, 999, 1_000)
    assert load_report.quantiles(np.empty(0)).p99 is None


async def test_late_answers_count_for_no_throughput_or_goodput() -> None:
    samples = Samples(began=0.0, sent=3, window=2.0)
    for number, ended in enumerate((1.0, 1.5, 2.5)):
        samples.add(number, 0.0, 0.0, ended, 200)
    stage = load_report.stage(Load(10, None, 2.0, 3), samples, run="r")
    assert (stage.answered, stage.throughput, stage.goodput, stage.latency_ms.max) == (3, 1.0, 0.5, 2_500)


async def test_a_ramp_ends_far_above_the_throughput() -> None:
    test = plan(ramp=True, seconds=1.0, requests=1)
    finished = [stage_of(throughput=100.0)]
    loads = test.following(finished)
    assert next(loads).concurrency == 64
    rates = []
    for load in loads:
        assert load.rate is not None
        rates.append(load.rate)
        finished.append(stage_of(throughput=min(load.rate, 200.0)))  # the closed loop found half of what there is
    assert rates[: len(RAMP)] == [100 * share for share in RAMP]
    assert rates[len(RAMP) :] == [300, 450]


async def test_a_test_does_one_kind_of_load() -> None:
    with pytest.raises(InvalidInput, match="takes rates, concurrencies, or a ramp"):
        plan(rates=[1], ramp=True, seconds=1, requests=1)


def test_two_tests_are_compared_load_by_load() -> None:
    first = report(stage_of(rate=10, throughput=8), stage_of(rate=20, throughput=16))
    second = report(stage_of(rate=20, throughput=20), stage_of(rate=30, throughput=24))
    changes = load_report.compare(first, second)
    assert list(changes) == ["20/s poisson", "peak"]
    throughput = changes["20/s poisson"][0]
    assert (throughput.first, throughput.second, throughput.ratio) == (16, 20, 1.25)
    assert changes["peak"][0].ratio == 1.5


def test_the_sample_has_states_of_every_task_for_both_services() -> None:
    for role in ("controller", "executor"):
        assert {decision.task for decision in sample_states.sample() if decision.asked == role} == {
            task.id for task in TASKS
        }


def test_no_state_of_the_sample_is_shorter_than_in_play() -> None:
    origin, sample = sample_states.sample_origin(), sample_states.sample()
    read = max(get_format(checkpoint.load(CHECKPOINTS / name).card.prompt_format).history_turns for name in SHIPPED)
    assert (origin.history_turns, origin.states) == (read, len(sample))
    assert missing_turns((decision.state for decision in sample), read) == 0
    assert max(decision.state.step for decision in sample) > read + 1


def test_the_sample_was_played_by_shipped_models_on_dev() -> None:
    origin = sample_states.sample_origin()
    played = (origin.versions.controller, origin.versions.executor)
    assert [info.sha256 for info in played if info] == [checkpoint.load(CHECKPOINTS / name).sha256 for name in SHIPPED]
    for episode in origin.episodes:
        task, variation = episode.split("/")
        assert find_task(task).split_of(int(variation)) == "dev"
    tasks = {decision.state.task for decision in sample_states.sample()}
    assert len(tasks) >= len(TASKS) - 2  # some tasks share their wording


def test_states_are_cut_to_what_the_service_reads() -> None:
    def actions(state: AgentState) -> int:
        return sum(turn.action is not None for turn in state.turns)

    executor = [decision for decision in sample_states.sample() if decision.asked == "executor"]
    long = [decision for decision in executor if actions(decision.state) > 10]
    assert len(long) > 10
    sent = request_bodies.states_for(EXECUTOR.model_copy(update={"history_turns": 10}), long)
    assert [actions(state) for state in sent] == [10] * len(long)
    assert [state.step for state in sent] == [decision.state.step for decision in long]


@pytest.mark.parametrize(("history_turns", "short"), [(40, False), (60, True)])
def test_states_shorter_than_in_play_are_reported(history_turns: int, short: bool) -> None:
    read = EXECUTOR.model_copy(update={"history_turns": history_turns})
    missing = missing_turns(request_bodies.states_for(read, sample_states.sample()), history_turns)
    console = Console(file=io.StringIO(), width=200)
    console.print(load_tables.render(report().model_copy(update={"target": read, "short": missing, "distinct": 9_999})))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert (f"{missing} of 9999 states have fewer turns than the 60" in shown) == short == (missing > 0)


def test_an_episode_gives_few_states_for_each_service(recorded: EpisodeResult) -> None:
    chosen = choose(recorded, 40)
    assert [decision.asked for decision in chosen].count("executor") == KEPT["executor"]
    assert [decision.asked for decision in chosen].count("controller") == KEPT["controller"]
    assert chosen == choose(recorded, 40)
    assert missing_turns((decision.state for decision in chosen), 40) == 0


def test_an_agent_without_controller_gives_no_controller_states(recorded: EpisodeResult) -> None:
    oracle = recorded.model_copy(update={"agent": AgentConfig(subgoals="oracle")})
    assert {moment.asked for moment in moments(oracle, 40)} == {"executor"}
    assert {moment.asked for moment in moments(recorded, 40)} == {"executor", "controller"}


@pytest.fixture
def recorded() -> EpisodeResult:
    """An episode of sixty turns that asks for a sub-goal every fourth turn."""
    turns = tuple(
        TurnRecord(
            turn=number,
            subgoal=f"move(a, {number // 4})",
            controller_called=number % 4 == 0,
            action="look around",
            proposed="look around",
            logprob=None,
            look=f"after {number}",
        )
        for number in range(60)
    )
    opening = Opening(task="Find an apple.", look="at first", inventory="nothing")
    played = {"trajectory": turns, "opening": opening, "agent": AgentConfig()}
    return result("long").model_copy(update=played)


def test_a_runs_states_are_those_that_its_models_saw(tmp_path: Path) -> None:
    def turn(number: int, subgoal: str, action: str | None, *, controller_called: bool = False) -> TurnRecord:
        seen = f"after {number}"
        return TurnRecord(
            turn=number,
            subgoal=subgoal,
            controller_called=controller_called,
            action=action,
            proposed=action,
            logprob=None,
            look=seen,
            observation=seen,
        )

    turns = (
        turn(1, "navigate_to(kitchen)", "teleport to kitchen", controller_called=True),
        turn(2, "navigate_to(kitchen)", None),
        turn(3, "pick_up(apple)", "pick up apple", controller_called=True),
    )
    folder = RunFolder(tmp_path)
    folder.begin(evaluation())
    folder.append(result("old", task="4-2").model_copy(update={"trajectory": turns}))
    with pytest.raises(InvalidInput, match="how an episode opened"):
        sample_states.from_run(tmp_path)
    opening = Opening(task="Find an apple.", look="at first", inventory="nothing")
    folder.append(result("a", task="4-2").model_copy(update={"trajectory": turns, "opening": opening}))
    decisions = sample_states.from_run(tmp_path)
    roles = [decision.asked for decision in decisions]
    assert roles == ["controller", "executor", "executor", "controller", "executor"]
    assert [decision.state.look for decision in decisions] == ["at first"] * 2 + ["after 1"] * 3
    assert {decision.state.task for decision in decisions} == {"Find an apple."}
    current = [decision.state.current_subgoal for decision in decisions]
    assert current == [None, *["navigate_to(kitchen)"] * 3, "pick_up(apple)"]
    assert [decision.state.completed_subgoals for decision in decisions] == [(), (), (), (), ("navigate_to(kitchen)",)]
    assert [decision.state.subgoal_step for decision in decisions] == [None, 1, 1, None, 3]


def stage_of(*, throughput: float, rate: float | None = None) -> Stage:
    load = Load(rate, None if rate else 64, 1.0, 1)
    return load_report.stage(load, Samples(began=0.0, window=1.0), run="r").model_copy(
        update={"throughput": throughput}
    )


def report(*stages: Stage) -> LoadReport:
    return LoadReport(
        waymark="0",
        started="2026-01-01T00:00:00+00:00",
        machine="one",
        target=EXECUTOR,
        states="sample",
        distinct=1,
        seed=0,
        interrupted=False,
        stages=stages,
    )


def test_an_unwritable_picture_is_refused_before_the_test(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InvalidInput, match=r"folder\.png cannot be written"):
        saturation_curve.check(tmp_path / "folder.png")
    with pytest.raises(InvalidInput, match=r"/proc/x\.svg cannot be written"):
        saturation_curve.check(Path("/proc/x.svg"))
