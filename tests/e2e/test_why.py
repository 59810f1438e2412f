"""Why a task failed and whether another agent did better, from the browser alone: start, watch, replay, compare, play.

Runs under `./run test --browser`, as `test_dashboard` does.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.browser import Page, Runner
from tests.samples import VERSIONS, evaluation, result
from waymark.agent.named_agents import AGENTS
from waymark.contracts import EvaluationRequest, Limits, MadeBy
from waymark.evaluation.requested_episodes import episodes
from waymark.worlds.registry import get_world

AXE = gzip.decompress((Path(__file__).parent / "axe" / "axe.min.js.gz").read_bytes()).decode()
WIDTHS = (390, 768, 1_280, 1_600)


@pytest.fixture(scope="module")
def pair(runner: Runner) -> tuple[str, str]:
    """Two finished evaluations of the same variations by different agents."""
    request = EvaluationRequest(tasks=("4-2", "1-1"), variations=(0, 1, 2))
    names = [
        runner.client.submit(request.model_copy(update={"agent": AGENTS[agent]})).id
        for agent in ("hierarchical", "flat")
    ]
    for name in names:
        for _ in runner.client.events(name):
            pass
    return names[0], names[1]


def test_an_evaluation_starts_from_the_form(page: Page, runner: Runner) -> None:
    page.open()
    page.click("a.button", "New evaluation")
    page.find("h1", "New evaluation")
    variations = page.find("#field-variations")
    variations.send_keys("0-1, x", Keys.ENTER)
    page.find("#wrong-variations", "got “x”")
    variations.clear()
    variations.send_keys("0, 99999", Keys.ENTER)
    assert "out of range" in page.find("#wrong-variations", "99999").text
    variations.clear()
    variations.send_keys("0-1")
    page.click("summary", "all 30 task types")
    page.click("label.choice", "4-2 ")
    page.click("label.choice", "hierarchical")
    page.find("#size", "0 episodes")
    page.click("button[type=submit]", "Start")
    page.find("#wrong-agent", "Choose at least one agent")
    page.click("#field-agent input[value=flat]")
    page.find("#size", "2 episodes of 1 task type")
    page.click("button[type=submit]", "Start")
    page.find("h1 .badge", "finished")
    name = page.browser.current_url.rpartition("/")[2]
    request = runner.client.status(name).request
    assert (request.tasks, request.variations, request.agent) == (("4-2",), (0, 1), AGENTS["flat"])
    assert request.world == "scripted"


def test_several_agents_start_with_chosen_rules_and_are_compared(page: Page, runner: Runner) -> None:
    page.open("new")
    page.click("summary", "all 30 task types")
    page.click("label.choice", "4-2 ")
    page.click("#field-agent input[value=published]")
    Select(page.find("#field-rules")).select_by_value("some")
    unwanted = ("well-formed", "no-repeat-action")
    for rule in unwanted:
        page.click(f"#field-rule input[value={rule}]")
    page.find("#size", "2 episodes (1 variation × 2 agents)")
    page.click("button[type=submit]", "Start")
    page.find("a.button", "Compare 2")
    page.wait(lambda: [row[1] for row in page.rows("#runs")][:2] == ["finished", "finished"] or None)
    first, second = (runner.client.status(name).request.agent for name in reversed(runner.store.ids()[-2:]))
    rules = {first.policy: first.rules, second.policy: second.rules}
    names = {rule.name for rule in get_world("scripted").agent.rules}
    assert set(rules["guided"] or ()) == names.difference(unwanted)
    assert rules["published"] is None
    page.click("a.button", "Compare 2")
    page.find("h1", "Comparison")


def test_the_turn_where_the_score_stopped_is_found(page: Page, runner: Runner) -> None:
    cut_short = EvaluationRequest(
        tasks=("4-2",), variations=(0,), agent=AGENTS["oracle_actions"], limits=Limits(moves=3, turns=3)
    )
    evaluation = runner.client.submit(cut_short).id
    for _ in runner.client.events(evaluation):
        pass
    [light] = runner.store.results(evaluation)
    page.open(f"evaluations/{evaluation}/episodes/{light.id}")
    page.find(".where", "Turn 1 of")
    episode = runner.store.episode(evaluation, light.id)
    gain = max((turn.turn for turn in episode.trajectory if turn.reward > 0), default=None)
    assert gain is not None
    page.click(".ending button", f"turn {gain} of")
    page.find(".where", f"Turn {gain} of")
    page.press(Keys.HOME)
    page.click("button", "Last gain")
    page.find(".where", f"Turn {gain} of")


def test_a_turn_shows_what_the_models_considered_and_read(page: Page, runner: Runner, pair: tuple[str, str]) -> None:
    page.open(f"evaluations/{pair[0]}")
    page.click("#tasks a", "4-2")
    page.wait(lambda: {row[0].split()[0] for row in page.rows("#episodes")} == {"4-2"} or None)
    scores = [int(row[2]) for row in page.rows("#episodes")]
    assert scores == sorted(scores)
    page.click("#episodes a", "4-2")
    page.find(".where", "Turn 1 of")
    name = page.browser.current_url.split("/episodes/")[1].partition("?")[0]
    [light] = [result for result in runner.store.results(pair[0]) if result.id == name]
    turn = runner.store.episode(pair[0], light.id).trajectory[0]
    shown = [row[0] for row in page.rows(".alternatives")]
    assert shown == [considered.text or "end the sub-goal" for considered in (*turn.subgoals, *turn.actions)]
    page.click("summary", "Exact prompts")
    page.find(".prompt")
    page.browser.execute_script("document.querySelector('.prompts').scrollIntoView()")
    prompts = [str(element.get_attribute("textContent")) for element in page.all(".prompt")]
    assert prompts
    assert all("|" in prompt for prompt in prompts)
    page.press(Keys.HOME)
    page.click(".controls button", "Play")
    page.find(".where", "Turn 2 of")
    page.click(".controls button", "Pause")
    page.click("a.button", "Next")
    page.find("h1", "Task")
    assert page.browser.current_url.count(light.id) == 0


def test_two_runs_are_compared_and_their_episodes_side_by_side(page: Page, pair: tuple[str, str]) -> None:
    page.open()
    for name in pair:
        page.click(f"input[aria-label='Compare {name}']")
    page.click("a.button", "Compare 2")
    page.find("h1", "Comparison")
    assert len(page.rows("#agents")) == 2
    assert len(page.rows("#by-task")) == 2
    if page.rows("#changed"):
        page.click("#changed a", "Side by side")
        page.find("#parting", "They first differ")
        assert len(page.all(".sides > section")) == 2
        page.find(".parting .badge", "differs here")


def test_four_clicks_lead_from_a_failure_to_the_better_agent(page: Page, runner: Runner, pair: tuple[str, str]) -> None:
    page.open()
    page.click("#runs a", pair[0])  # 1
    page.find("#failures")
    page.click("#tasks a", "1-1")  # 2: its episodes, the lowest score first
    page.wait(lambda: {row[0].split()[0] for row in page.rows("#episodes")} == {"1-1"} or None)
    page.click("#episodes a", "1-1")  # 3
    page.find(".ending", "How it ended: ")
    name = page.browser.current_url.split("/episodes/")[1].partition("?")[0]
    [failed] = [result for result in runner.store.results(pair[0]) if result.id == name]
    page.find(".others a", pair[1])
    of_rival = {(result.task, result.variation): result for result in runner.store.results(pair[1])}
    rival = of_rival["1-1", failed.variation]
    others = {row[1]: row for row in page.rows(".others")}
    assert others[pair[1]][0] == "flat"
    assert others[pair[1]][2].startswith(str(rival.score))
    row = next(element for element in page.all(".others tbody tr") if pair[1] in element.text)
    row.find_elements(By.CSS_SELECTOR, "a")[-1].click()  # 4
    page.find("h1", "side by side")
    assert [element.get_attribute("aria-label") for element in page.all(".sides > section")] == [pair[0], pair[1]]


def test_runs_are_named_tagged_searched_and_sorted(page: Page, pair: tuple[str, str]) -> None:
    page.open(f"evaluations/{pair[0]}")
    page.click("button", "Add a name, tags or a note")
    page.find("#field-name").send_keys("The winner")
    page.find("#field-tags").send_keys("paper, best")
    page.find("#field-note").send_keys("Look here <b>first</b>.")
    page.click("button", "Save")
    page.find(".written", "Look here <b>first</b>.")
    page.open()
    page.find("#search").send_keys("winner paper")
    page.wait(lambda: [row[2] for row in page.rows("#runs")] == [f"The winner {pair[0]} paper best"] or None)
    page.find("#search").clear()
    page.find("#search").send_keys(Keys.SPACE)
    page.wait(lambda: len(page.rows("#runs")) > 1 or None)
    page.click(".sort", "Mean score")
    scores = [float(row[7]) for row in page.rows("#runs") if row[7] != "–"]
    assert scores == sorted(scores, reverse=True)
    page.click(".sort", "Mean score")
    assert [float(row[7]) for row in page.rows("#runs") if row[7] != "–"] == sorted(scores)


def test_three_turns_are_played_by_hand_and_saved(page: Page, runner: Runner) -> None:
    page.open("play?task=4-2&variation=0")
    page.find("h1", "Play along")
    page.click("button[type=submit]", "Begin")
    for turn, action in enumerate(("", "look around", ""), start=1):
        page.find("#play-state", f"Turn {turn}.")
        if page.all(".offer.subgoal"):
            page.click(".offer.subgoal")
        page.find("input[name=action]")
        if action:
            page.find("input[name=action]").send_keys(action, Keys.ENTER)
        elif turn == 3:
            page.click("summary", "Valid actions")
            page.find("input[aria-label='Search valid actions']").send_keys("open door")
            page.click(".valid button", "open door to kitchen")
        else:
            page.click(".offer.action")
    page.find("#play-state", "Turn 4.")
    page.click("button", "End the session")
    page.click("a.button", "Open the saved run")
    page.click("#episodes a", "4-2")
    page.find(".where", "Turn 1 of 3")
    name = page.browser.current_url.split("/evaluations/")[1].split("/")[0]
    assert "-play-" in name
    [light] = runner.store.results(name)
    assert runner.store.episode(name, light.id).trajectory[1].action == "look around"


def test_the_oracle_path_is_shown_beside_an_episode(page: Page, runner: Runner, pair: tuple[str, str]) -> None:
    light = runner.store.results(pair[0])[0]
    page.open(f"evaluations/{pair[0]}/episodes/{light.id}")
    page.click("button", "Show the oracle path")
    page.find(".oracle h2", "own solution")
    assert len(page.all(".oracle li")) >= 3


def test_two_thousand_episodes_scroll_smoothly(page: Page, runner: Runner) -> None:
    name = runner.client.submit(EvaluationRequest(protocol="full", repeats=2)).id
    runner.client.cancel(name)
    page.open(f"evaluations/{name}")
    page.find("#episodes")
    slowest = page.browser.execute_async_script(
        """
        const done = arguments[0]; let last = performance.now(), worst = 0, frames = 0;
        function step(now) {
          worst = Math.max(worst, now - last); last = now; window.scrollBy(0, 400);
          if ((frames += 1) < 120) requestAnimationFrame(step); else done(worst);
        }
        requestAnimationFrame((now) => { last = now; requestAnimationFrame(step); });
        """
    )
    assert slowest < 2_000  # a shared machine; without paging one frame took far longer than all of these
    assert 200 < len(page.rows("#episodes")) < 3_638


PAGES = (
    "",
    "new",
    "play",
    "compare",
    "evaluations/{a}",
    "evaluations/{a}/episodes/{episode}",
    "compare?run={a}&run={b}",
    "side-by-side?a={a}&a-episode={episode}&b={b}&b-episode={other}",
    "evaluations/nobody",
)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_fault_of_accessibility(
    page: Page, runner: Runner, pair: tuple[str, str], theme: str
) -> None:
    episode, other = (runner.store.results(name)[0].id for name in pair)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    shots = os.environ.get("WAYMARK_SCREENSHOTS")
    problems_by_page: dict[str, list[Any]] = {}
    page.open()
    page.find("h1")
    for place in PAGES:
        address = place.format(a=pair[0], b=pair[1], episode=episode, other=other)
        page.browser.get(f"{page.url}/#/{address}")
        page.find("h1" if place != "evaluations/nobody" else ".empty")
        page.wait(lambda: not page.all("main > [aria-busy]") or None)
        page.browser.execute_script(AXE)
        problems = page.browser.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then("
            "(r) => done(r.violations.filter((v) => ['serious', 'critical'].includes(v.impact))"
            ".map((v) => [v.id, v.nodes.map((n) => n.html.slice(0, 200)).slice(0, 3)])))"
        )
        if problems:
            problems_by_page[place] = problems
        for width in WIDTHS:
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            over = page.browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
            if over > 0:
                problems_by_page[f"{place} at {width}"] = [over]
            if shots:
                name = f"{place.replace('/', '-').replace('?', '-')[:40] or 'runs'}-{theme}-{width}.png"
                page.browser.save_screenshot(str(Path(shots) / name))
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert problems_by_page == {}


def test_scores_of_mixed_checkpoints_are_refused_in_words(page: Page, runner: Runner) -> None:
    request = EvaluationRequest(tasks=("4-2",), variations=(0,))
    [spec] = episodes("mixed", request)
    played = result(spec.id, evaluation="mixed", task="4-2", variation=0)
    foreign = played.model_copy(update={"checkpoints": MadeBy(executor="f" * 12)})
    runner.store.restore(evaluation("mixed", request, episodes=1), [spec], [foreign])
    page.open("evaluations/mixed")
    page.find("p.wrong", "were not all played by its executor")


def test_a_run_of_another_world_has_its_own_columns(page: Page, runner: Runner) -> None:
    name, world = "other-world", get_world("textworld-express")
    request = EvaluationRequest(world=world.name, tasks=("coin", "twc"), variations=(1_000,))
    versions = VERSIONS.model_copy(update={"environment": f"{world.name} 1.1.0"})
    specs = episodes(name, request, world)
    scores = {"coin": 100, "twc": 20}
    results = [
        result(spec.id, evaluation=name, task=spec.task, variation=spec.variation, score=scores[spec.task])
        for spec in specs
    ]
    header = evaluation(name, request, episodes=2).model_copy(update={"versions": versions})
    runner.store.restore(header, specs, results)
    page.open(f"evaluations/{name}")
    page.find(".lead", world.title)
    page.find("#tasks")
    assert [row[:4] for row in page.rows("#tasks")] == [
        ["coin", "", "1", "100.0"],
        ["", "search: mean of 1", "1", "100.0"],
        ["twc", "", "1", "20.0"],
        ["", "household: mean of 1", "1", "20.0"],
        ["", "all: mean of 2", "2", "60.0"],
    ]
    assert {len(row) for row in page.rows("#tasks")} == {6}  # no published columns
    assert not page.all("#methods")
