"""All runs as one list, the routes of the dashboard, and run folders that should not be trusted."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from services.env_runner.run_library import MOST_FOLDERS, RunLibrary, name_folders
from services.env_runner.run_notes import NOTES, RunNotes
from services.env_runner.settings import ViewerSettings
from services.env_runner.viewer import create_viewer
from tests import samples
from waymark.contracts import EpisodeResult, EvaluationRequest, Opening, TurnRecord
from waymark.errors import NotFound
from waymark.evaluation.inspect_log import inspect_log
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import EPISODES, HEADER, RunFolder
from waymark.worlds.registry import WORLD_NAMES, get_world

pytestmark = pytest.mark.anyio

REQUEST = EvaluationRequest(tasks=("4-2", "1-1"), variations=(0, 1, 2))
TURN = TurnRecord(
    turn=1,
    subgoal="go(kitchen)",
    controller_called=True,
    action="go to kitchen",
    proposed="go to kitchen",
    logprob=-0.1,
)


def write(runs: Path, name: str, *, scores: int = 50, played: int = 6) -> RunFolder:
    specs = episodes(name, REQUEST)
    folder = RunFolder(runs / name)
    folder.begin(samples.evaluation(name, REQUEST, episodes=len(specs)))
    for spec in specs[:played]:
        result = samples.result_of(spec, score=scores)
        opening = Opening(task="Find a thing.", look="A room.", inventory="nothing")
        details = {"trajectory": (TURN,), "opening": opening, "agent": spec.agent, "versions": samples.VERSIONS}
        folder.append(result.model_copy(update=details))
    return folder


@asynccontextmanager
async def viewing(runs: Path, *, api_keys: str = "") -> AsyncIterator[httpx.AsyncClient]:
    app = create_viewer(ViewerSettings(api_keys=SecretStr(api_keys)), RunLibrary(None, runs))
    async with httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(app)) as http:
        yield http


async def test_folders_are_shown_without_redis_and_models(tmp_path: Path) -> None:
    write(tmp_path, "whole")
    write(tmp_path, "torn", played=2)
    async with viewing(tmp_path) as http:
        items = {item["status"]["id"]: item for item in (await http.get("/v1/runs")).json()["items"]}
        assert {name: item["status"]["state"] for name, item in items.items()} == {
            "whole": "finished",
            "torn": "cancelled",
        }
        assert all(item["on_disk_only"] for item in items.values())
        assert (await http.get("/v1/evaluations/torn")).json()["finished"] == 2
        assert len((await http.get("/v1/evaluations/whole/episodes")).json()["items"]) == 6
        assert (await http.get("/v1/evaluations/whole/summary")).json()["summary"]["mean"] == 50
        episode = (await http.get("/v1/evaluations/whole/results")).json()[0]["id"]
        result = EpisodeResult.model_validate((await http.get(f"/v1/evaluations/whole/episodes/{episode}")).json())
        assert result.trajectory == (TURN,)
        turn = (await http.get(f"/v1/evaluations/whole/episodes/{episode}/turns/1")).json()
        assert [model["asked"] for model in turn["models"]] == ["controller", "executor"]
        assert turn["models"][0]["prompt"].startswith("find thing")
        assert "event: status" in (await http.get("/v1/evaluations/whole/events")).text
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/v1/options")).json()["can_play"] is False
        assert (await http.post("/v1/evaluations", json={})).status_code == 405
        assert (await http.get(f"/v1/evaluations/whole/episodes/{episode}/turns/2")).status_code == 422


async def test_a_folder_is_exported_in_one_pass_in_order(tmp_path: Path) -> None:
    run = write(tmp_path, "whole")
    lines = (run.path / EPISODES).read_bytes().splitlines(keepends=True)
    (run.path / EPISODES).write_bytes(b"".join(reversed(lines)))
    library = RunLibrary(None, tmp_path)
    assert [result.id for result in library.whole_results("whole")] == [spec.id for spec in episodes("whole", REQUEST)]
    async with viewing(tmp_path) as http:
        exported = (await http.get("/v1/evaluations/whole/export")).content.splitlines(keepends=True)
    assert exported == lines


async def test_runs_of_another_world_are_shown(tmp_path: Path) -> None:
    express = get_world("textworld-express")
    request = EvaluationRequest(tasks=(express.tasks[0].id,), variations=(0, 1))
    specs = episodes("express", request, express)
    versions = samples.VERSIONS.model_copy(update={"environment": f"{express.name} 1.1.0"})
    header = samples.evaluation("express", request, episodes=len(specs)).model_copy(update={"versions": versions})
    folder = RunFolder(tmp_path / "express")
    folder.begin(header)
    for spec in specs:
        folder.append(samples.result(spec.id, evaluation="express", task=spec.task, variation=spec.variation))
    async with viewing(tmp_path) as http:
        for path in ("results", "episodes", "summary", "failures", "export"):
            assert (await http.get(f"/v1/evaluations/express/{path}")).status_code == 200, path


async def test_a_folder_that_grows_is_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path, "one", played=1)
    library = RunLibrary(None, tmp_path)
    assert (library.status("one").finished, len(library.results("one"))) == (1, 1)
    spec = episodes("one", REQUEST)[1]
    folder.append(samples.result_of(spec))
    assert (library.status("one").finished, len(library.results("one"))) == (2, 2)


async def test_runs_are_compared_over_the_interface(tmp_path: Path) -> None:
    write(tmp_path, "a", scores=40)
    write(tmp_path, "b", scores=70)
    async with viewing(tmp_path) as http:
        comparison = (await http.get("/v1/comparison?run=a&run=b")).json()
        assert comparison["comparison"]["differences"][0]["mean"] == 30
        assert {task["task"]: task["difference"] for task in comparison["tasks"]} == {"4-2": 30, "1-1": 30}
        assert len(comparison["changed"]) == 6
        for wrong in ("run=a", "run=a&run=a", "run=a&run=..%2fb"):
            assert (await http.get(f"/v1/comparison?{wrong}")).status_code == 422
        assert (await http.get("/v1/comparison?run=a&run=none")).status_code == 404


async def test_notes_are_kept_in_the_run_folder(tmp_path: Path) -> None:
    write(tmp_path, "one")
    async with viewing(tmp_path) as http:
        notes = {"name": "Best so far", "tags": ["paper"], "note": "Two\nlines <b>"}
        assert (await http.put("/v1/runs/one/notes", json=notes)).json() == notes
        assert (await http.get("/v1/runs/one/notes")).json() == notes
        assert (await http.get("/v1/runs")).json()["items"][0]["notes"] == notes
        assert (await http.put("/v1/runs/one/notes", json={"note": "x" * 4_001})).status_code == 422
        assert (await http.put("/v1/runs/none/notes", json=notes)).status_code == 404
    assert RunNotes.model_validate_json((tmp_path / "one" / NOTES).read_text()).name == "Best so far"
    assert {file.name for file in (tmp_path / "one").iterdir()} == {HEADER, EPISODES, NOTES}


async def test_every_route_asks_for_the_key(tmp_path: Path) -> None:
    write(tmp_path, "one")
    async with viewing(tmp_path, api_keys="secret") as http:
        for path in (
            "/v1/runs",
            "/v1/options",
            "/v1/comparison?run=a&run=b",
            "/v1/evaluations/one/failures",
            "/v1/worlds",
        ):
            assert (await http.get(path)).status_code == 401, path
        assert (await http.put("/v1/runs/one/notes", json={})).status_code == 401
        assert (await http.get("/v1/runs", headers={"Authorization": "Bearer secret"})).status_code == 200


@pytest.mark.parametrize(
    "trap", ["folder link", "header link", "episodes link", "header fifo", "episodes fifo", "notes link"]
)
async def test_no_link_or_fifo_leads_out_of_the_runs_folder(tmp_path: Path, trap: str) -> None:
    outside, runs = tmp_path / "outside", tmp_path / "runs"
    secret = write(outside, "secret")
    runs.mkdir()
    inside = write(runs, "inside")
    match trap:
        case "folder link":
            (runs / "linked").symlink_to(secret.path)
        case "header link":
            (inside.path / HEADER).unlink()
            (inside.path / HEADER).symlink_to(secret.path / HEADER)
        case "episodes link":
            (inside.path / EPISODES).unlink()
            (inside.path / EPISODES).symlink_to(secret.path / EPISODES)
        case "notes link":
            (secret.path / NOTES).write_text('{"name": "secret"}')
            (inside.path / NOTES).symlink_to(secret.path / NOTES)
        case fifo:
            place = inside.path / (HEADER if fifo.startswith("header") else EPISODES)
            place.unlink()
            os.mkfifo(place)
    library = RunLibrary(None, runs)
    if trap in ("folder link", "notes link"):
        assert [entry.status.id for entry in library.entries()] == ["inside"]
        assert library.notes("inside") == RunNotes()
        with pytest.raises(NotFound):
            library.status("linked")
    else:
        assert library.entries() == []
        for ask in (library.status, library.results, library.evaluation):
            with pytest.raises(NotFound):
                ask("inside")


@pytest.mark.parametrize("name", ["..", "../outside", ".", "", "a/b", "/etc", "a\0b", "x" * 101, "~root", ".hidden"])
async def test_no_name_leads_out_of_the_runs_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path, "outside")
    (tmp_path / "runs").mkdir()
    with pytest.raises(NotFound):
        RunLibrary(None, tmp_path / "runs").status(name)


async def test_a_damaged_folder_is_left_out_of_the_list(tmp_path: Path) -> None:
    write(tmp_path, "good")
    broken = write(tmp_path, "broken")
    (broken.path / EPISODES).write_text("{}\n")
    (write(tmp_path, "other").path / HEADER).write_text("not json")
    assert [entry.status.id for entry in RunLibrary(None, tmp_path).entries()] == ["good"]
    assert MOST_FOLDERS >= 1_000


async def test_named_folders_have_ids_of_their_own(tmp_path: Path) -> None:
    first, second = write(tmp_path / "x", "run"), write(tmp_path / "y", "run")
    named = name_folders([first.path, second.path, tmp_path / "x"])
    assert named == {"run": first.path, "run-2": second.path}
    assert RunLibrary(None, None, named).status("run-2").finished == 6
    with pytest.raises(NotFound, match=r"has no evaluation\.json"):
        name_folders([tmp_path / "nowhere"])


# --- worlds and other runs ------------------------------------------------------------------------------------------


async def test_every_world_is_described_without_its_simulator(tmp_path: Path) -> None:
    async with viewing(tmp_path) as http:
        items = {item["name"]: item for item in (await http.get("/v1/worlds")).json()["items"]}
        assert set(items) == set(WORLD_NAMES)
        for name, described in items.items():
            world = get_world(name)
            assert described["title"] == world.title
            assert [item["id"] for item in described["tasks"]] == [task.id for task in world.tasks]
            assert {item["group"] for item in described["tasks"]} == set(described["groups"])
            assert [item["name"] for item in described["protocols"]] == list(world.protocols)
            assert [item["name"] for item in described["rules"]] == [rule.name for rule in world.agent.rules]
            assert all(item["description"].endswith(".") for item in described["rules"])
            assert described["published"] == list(world.published.columns)
            assert (await http.get(f"/v1/worlds/{name}")).json() == described
        refused = await http.get("/v1/worlds/atlantis")
        assert refused.status_code == 422
        assert "scienceworld" in refused.json()["detail"]


async def test_a_run_of_another_world_has_its_own_tasks(tmp_path: Path) -> None:
    name, request = "twe", EvaluationRequest(tasks=("coin", "twc"), variations=(1_000,))
    versions = samples.VERSIONS.model_copy(update={"environment": "textworld-express 1.1.0"})
    folder = RunFolder(tmp_path / name)
    folder.begin(samples.evaluation(name, request, episodes=2).model_copy(update={"versions": versions}))
    for spec, score in zip(episodes(name, request, get_world("textworld-express")), (100, 20), strict=True):
        result = samples.result(spec.id, evaluation=name, task=spec.task, variation=spec.variation, score=score)
        opening = Opening(task="Find the coin.", look="A room.", inventory="nothing")
        folder.append(result.model_copy(update={"trajectory": (TURN,), "opening": opening, "versions": versions}))
    async with viewing(tmp_path) as http:
        assert (await http.get("/v1/runs")).json()["items"][0]["world"] == "textworld-express"
        listed = (await http.get(f"/v1/evaluations/{name}/episodes")).json()["items"]
        assert [(episode["task"], episode["result"]["score"]) for episode in listed] == [("coin", 100), ("twc", 20)]
        summary = (await http.get(f"/v1/evaluations/{name}/summary")).json()
        assert summary["summary"]["groups"] == {"search": 100, "household": 20}
        assert (summary["methods"], summary["published"]["methods"]) == ([], [])
        turn = (await http.get(f"/v1/evaluations/{name}/episodes/{listed[0]['id']}/turns/1")).json()
        assert [model["asked"] for model in turn["models"]] == ["controller", "executor"]
    log = b"".join(inspect_log(folder.evaluation(), folder.results))
    scores = {entry["name"]: entry["metrics"] for entry in json.loads(log)["results"]["scores"]}
    assert scores["score"]["mean_over_task_types"]["value"] == 60


async def test_other_runs_of_a_variation_are_listed_best_first(tmp_path: Path) -> None:
    for name, score in (("a", 40), ("b", 10), ("c", 90)):
        write(tmp_path, name, scores=score)
    write(tmp_path, "torn", played=0)
    async with viewing(tmp_path) as http:
        listed = (await http.get("/v1/evaluations/a/episodes")).json()["items"]
        [entry] = [episode for episode in listed if (episode["task"], episode["variation"]) == ("1-1", 2)]
        await http.put("/v1/runs/c/notes", json={"name": "Best so far"})
        others = (await http.get(f"/v1/evaluations/a/episodes/{entry['id']}/elsewhere")).json()["items"]
        assert [(other["run"], other["run_name"], other["score"]) for other in others] == [
            ("c", "Best so far", 90),
            ("b", "b", 10),
        ]
        same = (await http.get(f"/v1/evaluations/c/episodes/{others[0]['episode']}")).json()
        assert (same["task"], same["variation"]) == ("1-1", 2)
        assert (await http.get("/v1/evaluations/a/episodes/none/elsewhere")).status_code == 404
