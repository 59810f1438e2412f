"""The dashboard in a real browser, on a real env-runner that asks for keys, with a worker on the scripted world.

Runs under `./run test --browser`; needs Chromium and its driver (Debian: `apt-get install chromium chromium-driver`).
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import accumulate, groupby
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from services.env_runner.queue import JobStore
from tests.browser import KEY, Page, Runner
from tests.samples import VERSIONS, result
from waymark.child_processes.child_process import Part, wait_until_ready
from waymark.child_processes.readiness import is_ready
from waymark.contracts import EpisodeError, EpisodeResult, EvaluationRequest, TurnRecord
from waymark.evaluation.export import encode
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import Evaluation
from waymark.evaluation.scores import summarise
from waymark.worlds.registry import get_world

HOSTILE = "<img src=x onerror=\"document.title='taken over'\"><script>document.title='taken over'</script>"


def restore(store: JobStore, name: str, *, text: str, error: EpisodeError) -> list[EpisodeResult]:
    """An evaluation of three episodes, of which one has errored, one says what `text` says, and one is not played."""
    request = EvaluationRequest(tasks=("1-1", "4-1", "4-2"), variations=(0,))
    specs = episodes(name, request)
    turns = [
        TurnRecord(
            turn=number,
            subgoal=subgoal,
            controller_called=True,
            action=action,
            proposed="focus at it" if action == text else action,
            logprob=-0.1,
            repaired=action == text,
            observation=text,
            look=text,
            inventory=text,
            score=score,
            reward=reward,
        )
        for number, subgoal, action, score, reward in (
            (1, text, text, 50, 50),
            (2, text, None, 50, 0),
            (3, "wait(1)", "wait1", -100, -150),
        )
    ]
    errored = result(specs[0].id, evaluation=name, task="1-1", variation=0, score=0, error=error)
    odd = result(specs[1].id, evaluation=name, task="4-1", variation=0).model_copy(update={"trajectory": tuple(turns)})
    evaluation = Evaluation(
        id=name, request=request, created="2026-01-01T00:00:00+00:00", versions=VERSIONS, episodes=len(specs)
    )
    store.restore(evaluation, specs, [errored, odd])
    store.cancel(name)
    return [errored, odd]


def test_the_page_asks_for_a_key_and_refuses_wrong_ones(page: Page) -> None:
    page.open(key=None)
    page.find("main", "needs an API key")
    page.enter("another")
    page.find("main", "This API key is not valid")
    page.enter(KEY)
    page.find("h1", "valuations")
    page.click("#forget")
    page.find("main", "needs an API key")


def test_without_evaluations_the_page_says_how_to_start_one(page: Page, runner: Runner) -> None:
    if runner.store.ids():
        pytest.fail("This test needs a Redis without evaluations, so it goes before those that submit some.")
    page.open()
    page.find("h1", "No evaluations yet")
    assert f"evaluate --url {runner.url}" in page.text("pre")


def test_a_new_evaluation_is_shown_beside_the_published_figures(page: Page, runner: Runner) -> None:
    page.open()
    submitted = runner.client.submit(EvaluationRequest(tasks=("4-1", "4-2"), variations=(0, 1, 2)))
    page.click("a", submitted.id)
    page.find("h1 .badge", "finished")
    page.find(".progress", "6 / 6")
    summary = summarise(runner.store.results(submitted.id))
    page.wait(lambda: [row[2] for row in page.rows("#tasks")] == ["3", "3", "6", "6"] or None)
    rows = {row[0]: row for row in page.rows("#tasks")}
    published = get_world("scienceworld").published.tasks
    for task in summary.tasks:
        assert rows[task.id][1:4] == [task.name, "3", f"{task.mean:.1f}"]
        assert rows[task.id][6:] == [
            f"{published[task.id][method]:.1f}" for method in get_world("scienceworld").published.columns
        ]
    assert summary.ci95 is not None
    low, high = summary.ci95
    score = page.text(".tile.main").splitlines()
    assert score[1:] == [
        f"{summary.mean:.1f}",
        "mean of 2 task types, of 100 points",
        f"95% interval {low:.1f} to {high:.1f}",
    ]
    scores = [str(result.score) for result in runner.store.results(submitted.id)]
    assert [row[2] for row in page.rows("#episodes")] == scores

    Select(page.find("#task")).select_by_value("4-2")
    title = f"4-2 {get_world('scienceworld').find_task('4-2').name}"
    assert [row[:2] for row in page.rows("#episodes")] == [[title, "0"], [title, "1"], [title, "2"]]
    page.browser.refresh()
    page.find("#episodes")
    page.wait(lambda: len(page.rows("#episodes")) == 3 or None)


def test_the_arrow_keys_replay_an_episode(page: Page, runner: Runner) -> None:
    submitted = runner.client.submit(EvaluationRequest(tasks=("4-2",)))
    page.open(f"evaluations/{submitted.id}")
    page.click("#episodes a", "4-2")
    page.find(".where", "Turn 1 of")
    [light] = runner.store.results(submitted.id)
    episode = runner.store.episode(submitted.id, light.id)
    assert episode.opening is not None
    assert episode.opening.task in page.text(".head")
    turns = episode.trajectory
    for keys, place in (
        ([Keys.ARROW_RIGHT], 1),
        ([Keys.ARROW_RIGHT, Keys.ARROW_RIGHT], 3),
        ([Keys.ARROW_LEFT], 2),
        ([Keys.END], len(turns) - 1),
        ([Keys.ARROW_RIGHT], len(turns) - 1),
        ([Keys.HOME, Keys.ARROW_LEFT], 0),
    ):
        page.press(*keys)
        turn = turns[place]
        assert page.text(".where") == f"Turn {turn.turn} of {len(turns)}, score {turn.score}"
        marks = ["repaired"] * turn.repaired + ["unknown"] * (not turn.known) + ["rule"] * bool(turn.rules)
        assert page.text(".detail h2") == " ".join([turn.action or "The executor ended the sub-goal", *marks])
        assert [element.text for element in page.all(".rules .badge")] == list(turn.rules)
        shown = [element.get_attribute("textContent") for element in page.all(".detail pre")]
        assert shown == [text.strip() for text in (turn.observation, turn.look, turn.inventory) if text]
        assert page.text("[aria-current=step] .number") == str(turn.turn)
        assert page.browser.current_url.endswith(f"?turn={turn.turn}")
    ended = [0, *accumulate(turn.action is None for turn in turns[:-1])]
    subgoals = [subgoal for (_, subgoal), _ in groupby(zip(ended, (turn.subgoal for turn in turns), strict=True))]
    assert [element.text for element in page.all(".group h3")] == subgoals

    page.browser.get(page.browser.current_url.replace("?turn=1", "?turn=3"))
    page.find(".where", "Turn 3 of")
    page.browser.back()
    page.browser.back()
    page.find("#episodes a", "4-2")
    assert page.browser.current_url.endswith(f"/#/evaluations/{submitted.id}")


def test_an_evaluation_is_cancelled_and_resumed(page: Page, runner: Runner, long_one: str) -> None:
    page.open(f"evaluations/{long_one}")
    page.find("h1 .badge", "running")
    page.click("button", "Cancel")
    page.click("dialog button", "Keep it running")
    assert runner.client.status(long_one).state != "cancelled"
    page.click("button", "Cancel")
    page.click("dialog button", "Cancel it")
    page.find("h1 .badge", "cancelled")
    page.find(".far", "not played")
    assert runner.client.status(long_one).state == "cancelled"
    played = runner.client.status(long_one).finished
    page.click("button", "Resume")
    page.find("h1 .badge", "running")
    page.wait(lambda: runner.client.status(long_one).finished > played or None)
    runner.client.cancel(long_one)
    page.find("h1 .badge", "cancelled")


def test_texts_of_an_episode_are_shown_without_markup(page: Page, runner: Runner) -> None:
    error = EpisodeError(kind="EnvironmentFault", message=HOSTILE)
    errored, odd = restore(runner.store, "odd", text=HOSTILE, error=error)
    page.open("evaluations/odd")
    page.find("tr.errored .outcome", f"EnvironmentFault {HOSTILE}")
    page.find("tr.waiting", "no result yet")
    Select(page.find("#outcome")).select_by_value("errored")
    assert [row[0].split()[0] for row in page.rows("#episodes")] == [errored.task]
    page.open(f"evaluations/odd/episodes/{odd.id}")
    assert page.text(".detail h2") == f"{HOSTILE} repaired"
    assert page.text(".detail").count(HOSTILE) == 5
    assert [element.text for element in page.all(".group h3")] == [HOSTILE, "wait(1)"]
    assert page.text(".group .note").startswith("1 action")
    page.press(Keys.END)
    assert page.text(".where") == "Turn 3 of 3, score −100"
    assert page.browser.title.startswith("4-1, variation 0")
    assert page.all("main img") == []


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_export_is_saved(page: Page, runner: Runner, downloads: Path, form: str) -> None:
    submitted = runner.client.submit(EvaluationRequest(tasks=("4-2",)))
    page.open(f"evaluations/{submitted.id}")
    page.find("h1 .badge", "finished")
    page.click("button", form.upper())
    file = downloads / f"{submitted.id}.{form}"
    page.wait(lambda: file.exists() or None)
    [light] = runner.store.results(submitted.id)
    assert file.read_bytes() == b"".join(encode([runner.store.episode(submitted.id, light.id)], form))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("evaluations/nobody", "No evaluation 'nobody'"),
        ("evaluations/nobody/episodes/none", "nobody"),
        ("x", "no page"),
    ],
)
def test_missing_pages_are_reported_plainly(page: Page, place: str, says: str) -> None:
    page.open(place, key=None if place == "x" else KEY)
    page.find(".empty", says)
    page.click("main a", "All evaluations")
    page.find("input[type=password]" if place == "x" else "h1")


def test_a_phone_needs_no_sideways_scrolling(page: Page, runner: Runner) -> None:
    submitted = runner.client.submit(EvaluationRequest())
    page.open()
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.find("a", submitted.id)
        assert overhang(page) == 0
        page.click("a", submitted.id)
        page.find("#tasks")
        assert overhang(page) == 0
        page.click("#episodes a")
        page.find(".where")
        assert overhang(page) == 0
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_goes_on_when_the_env_runner_is_back(
    page: Page, runner: Runner, long_one: str, tmp_path: Path
) -> None:
    """The last test: the env-runner that it starts instead of the stack's own ends with it."""
    page.open(f"evaluations/{long_one}")
    page.wait(lambda: any(row[2] != "–" for row in page.rows("#episodes")) or None)
    process = runner.stack.pids["env-runner"]
    variables = Path(f"/proc/{process}/environ").read_text().split("\0")
    environment = dict(variable.split("=", 1) for variable in variables if variable)
    os.kill(process, signal.SIGKILL)
    page.find("#notice", "connection is lost")
    part = Part("env-runner", [sys.executable, "-m", "services.env_runner"], environment, tmp_path / "log")
    try:
        wait_until_ready([part], lambda: is_ready(runner.url), "env-runner")
        page.wait(lambda: not page.all("#notice") or None)
        before = played(page)
        page.wait(lambda: played(page) > before or None)
        page.wait(lambda: sum(row[2] != "–" for row in page.rows("#episodes")) > before or None)
    finally:
        part.stop()


def played(page: Page) -> int:
    """How many episodes have a result, as the page says."""
    return int(page.text(".progress").split("/")[0])


def overhang(page: Page) -> int:
    """How many pixels the page is wider than the screen."""
    width: int = page.browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
    return width
