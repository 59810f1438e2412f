"""Results name the checkpoints that made them, whatever is restarted: real services, workers and Redis."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.env_runner.provenance import Provenance
from tests.commands import Command
from tests.integration.faults import Services, Site, until
from tests.integration.faulty_worker import STEPPING
from tests.samples import evaluation, result_of
from waymark.cli.local_stack import CHECKPOINTS
from waymark.clients.services import SyncControllerClient, SyncExecutorClient
from waymark.contracts import AgentConfig, EvaluationRequest, MadeBy, Versions
from waymark.evaluation.checkpoint_identity import short_hash
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import RunFolder

OURS = CHECKPOINTS / "executor"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The executor that ships under another card, so with another hash."""
    folder = tmp_path_factory.mktemp("theirs") / "executor"
    shutil.copytree(OURS, folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"name": "another-executor"}))
    return folder


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    (tmp_path / "services").mkdir()
    services = Services(tmp_path / "services")
    services.start("controller")
    services.start("executor", checkpoint=OURS)
    yield services
    services.stop()


def versions_of(services: Services, environment: str = "scripted") -> Versions:
    """What an evaluation that is submitted now is submitted for."""
    with (
        SyncControllerClient(services.url("controller")) as controller,
        SyncExecutorClient(services.url("executor")) as executor,
    ):
        return Provenance(environment, None).versions(AgentConfig(), controller.info(), executor.info())


def test_an_executor_restarted_with_other_weights_pauses_its_episode(
    site: Site, services: Services, theirs: Path
) -> None:
    versions = versions_of(services)
    site.submit("swapped", 1, turns=40, versions=versions)
    worker = site.worker(seconds=0.4, slots=1)
    until(lambda: worker.log.read_text().count(STEPPING) >= 2, "it plays")
    services.replace("executor", checkpoint=theirs)
    until(lambda: site.store.status("swapped").waiting is not None, "it is paused")
    status = site.store.status("swapped")
    other = versions_of(services).executor
    assert status.waiting is not None
    assert (status.finished, status.running, status.waiting.what) == (0, 1, "executor")
    assert short_hash(versions.executor.sha256) in status.waiting.expected
    assert short_hash(other.sha256) in status.waiting.found
    services.replace("executor", checkpoint=OURS)
    site.finish("swapped", worker)
    (light,) = site.store.results("swapped")
    assert light.error is None
    assert light.checkpoints == MadeBy(controller="", executor=short_hash(versions.executor.sha256))
    made_by = site.store.episode("swapped", light.id).versions
    assert made_by is not None
    assert made_by.executor == versions.executor
    log = worker.log.read_text()
    for name in (versions.executor.sha256, other.sha256):
        assert short_hash(name) in log
    assert site.store.status("swapped").waiting is None


def test_a_worker_leaves_evaluations_of_other_checkpoints_to_others(
    site: Site, services: Services, theirs: Path, tmp_path: Path
) -> None:
    (tmp_path / "others").mkdir()
    others = Services(tmp_path / "others")
    try:
        others.start("controller")
        others.start("executor", checkpoint=theirs)
        urls = {"EXECUTOR_URL": others.url("executor"), "CONTROLLER_URL": others.url("controller"), "SLOTS": "2"}
        foreign = site.part("worker", ["tests.integration.faulty_worker", "0"], urls)
        ours = site.submit("ours", 6, versions=versions_of(services))
        until(lambda: site.store.status("ours").waiting is not None, "the foreign worker refuses it")
        site.submit("elsewhere", 1, versions=versions_of(services, "scienceworld 1.2.3"))
        until(lambda: site.store.status("elsewhere").waiting is not None, "another world is refused too")
        theirs_too = site.submit("theirs", 6, versions=versions_of(others))
        site.finish("theirs", foreign)
        held = site.store.lease("spare", wait_seconds=5)
        assert held is not None
        assert held.deliveries == 1
        site.store.release(held, counted=False)
        assert site.finished("ours") == 0
        site.finish("ours", site.worker(seconds=0), foreign)
    finally:
        others.stop()
    assert "is left to other workers" in foreign.log.read_text()
    for name, specs, service in (("ours", ours, services), ("theirs", theirs_too, others)):
        results = site.store.results(name)
        assert [result.id for result in results] == [spec.id for spec in specs]
        made_by = {result.checkpoints.executor for result in results if result.checkpoints}
        assert made_by == {short_hash(site.store.evaluation(name).versions.executor.sha256)}, service
    assert site.store.dead() == []


def test_reports_refuse_a_run_of_several_checkpoints(waymark: Callable[..., Command], tmp_path: Path) -> None:
    mixed, pure = RunFolder(tmp_path / "mixed"), RunFolder(tmp_path / "pure")
    request = EvaluationRequest(tasks=("1-1",), variations=(21, 22))
    for folder, makers in ((mixed, ("", "b" * 12)), (pure, ("", ""))):
        folder.begin(evaluation(folder.path.name, request, episodes=2))
        for spec, maker in zip(episodes(folder.path.name, request), makers, strict=True):
            played = result_of(spec)
            folder.append(played.model_copy(update={"checkpoints": MadeBy(executor=maker)}))
    for arguments in (("report", mixed.path), ("report", mixed.path, "--json"), ("compare", pure.path, mixed.path)):
        code, out, err = waymark(*map(str, arguments)).wait()
        assert (code, out) == (2, ""), err
        assert "1 by bbbbbbbbbbbb" in err
        assert "Traceback" not in err
    assert waymark("report", str(pure.path)).wait()[0] == 0
    assert waymark("export", str(mixed.path), str(tmp_path / "all.jsonl")).wait()[0] == 0


def test_the_command_line_refuses_a_wrong_request_at_once(waymark: Callable[..., Command]) -> None:
    for option in (("--variations", "-1"), ("--tasks", ",".join(["1-1"] * 101))):
        code, _, err = waymark("evaluate", *option).wait()
        assert (code, "Traceback" in err) == (2, False), err
