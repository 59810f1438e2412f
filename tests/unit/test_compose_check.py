"""The service `check` of docker-compose.yml: one line for each mistake, before anything starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.docker.check import mistakes

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "docker" / "check.py"
HOST = "/models/mine"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /app with no setting of the machine's own; its checkpoints are HOST on the host."""
    for name in [name for name in os.environ if name.startswith("WAYMARK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOST_CHECKPOINTS", HOST)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


@pytest.fixture
def filled(folder: Path) -> Path:
    """The same with the checkpoints that ship."""
    for name in ("controller", "executor", "flat"):
        shutil.copytree(ROOT / "checkpoints" / name, folder / "checkpoints" / name)
    return folder


def all_mistakes() -> list[str]:
    return list(mistakes(dict(os.environ)))


def test_the_shipped_checkpoints_and_defaults_have_no_mistake(filled: Path) -> None:
    assert all_mistakes() == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"WAYMARK_SLOTS": "many"}, "WAYMARK_SLOTS=many"),
        ({"WAYMARK_ENGINE": "gpt"}, "WAYMARK_ENGINE=gpt"),
        ({"WAYMARK_REDIS_URL": "redis.example"}, "WAYMARK_REDIS_URL is no Redis address"),
        ({"WAYMARK_MODELS": "tpu"}, "WAYMARK_MODELS=tpu"),
        ({"WAYMARK_ENVIRONMENT": "zork"}, "WAYMARK_ENVIRONMENT=zork"),
        ({"WAYMARK_EVALUATE": "everything"}, "WAYMARK_EVALUATE=everything: ScienceWorld has no protocol"),
        ({"WAYMARK_ENGINE": "transformers"}, "Set WAYMARK_SERVE_TARGET=serve-torch."),
        ({"WAYMARK_API_KEYS": "secret-key"}, "WAYMARK_API_KEY is not set"),
        ({"WAYMARK_API_KEYS": "secret-key", "WAYMARK_API_KEY": "other-key"}, "WAYMARK_API_KEY is none of the keys"),
        ({"WAYMARK_CONTROLLER_CHECKPOINTS": "checkpoints/flat"}, "WAYMARK_CONTROLLER_CHECKPOINTS=checkpoints/flat"),
        ({"WAYMARK_EXECUTOR_CHECKPOINTS": "default=checkpoints/own"}, f"executor: No checkpoint at {HOST}/own"),
        ({"WAYMARK_EXECUTOR_VLLM_URL": "vllm:8000"}, "WAYMARK_EXECUTOR_VLLM_URL=vllm:8000"),
    ],
)
def test_a_mistake_is_one_line(
    filled: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], named: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    [line] = all_mistakes()
    assert named in line
    assert "\n" not in line
    assert "secret-key" not in line


def test_services_elsewhere_may_have_keys_of_their_own(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_API_KEYS", "ours")
    monkeypatch.setenv("WAYMARK_API_KEY", "theirs")
    monkeypatch.setenv("HOST_SERVICES", "https://models.example")
    assert all_mistakes() == []


@pytest.mark.parametrize(("content", "named"), [("", "There is no key"), ("my key\n", "Line 1 of")])
def test_a_wrong_keys_file_is_named_by_its_host_path(
    filled: Path, monkeypatch: pytest.MonkeyPatch, content: str, named: str
) -> None:
    keys = filled / "keys"
    keys.write_text(content)
    monkeypatch.setenv("WAYMARK_API_KEYS_FILE", str(keys))
    [line] = all_mistakes()
    assert line.startswith("WAYMARK_API_KEYS_FILE")
    assert named in line


def test_checkpoints_of_another_world_are_refused(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_ENVIRONMENT", "textworld-express")
    for line, name in zip(all_mistakes(), ("controller", "executor"), strict=True):
        assert line.startswith(f"{name}: {HOST}/{name} was trained for ScienceWorld")


def test_an_empty_folder_holds_no_checkpoints(folder: Path) -> None:
    for line, name in zip(all_mistakes(), ("controller", "executor"), strict=True):
        assert line.startswith(f"{name}: No checkpoint at {HOST}/{name}")


def test_one_checkpoint_is_no_folder_of_checkpoints(folder: Path) -> None:
    shutil.copytree(ROOT / "checkpoints" / "executor", folder / "checkpoints", dirs_exist_ok=True)
    assert all_mistakes() == [
        f"WAYMARK_CHECKPOINTS_FOLDER={HOST} is one checkpoint itself. "
        "Name the folder around it, which holds controller/ and executor/."
    ]


def test_a_changed_checkpoint_is_refused(filled: Path) -> None:
    with (filled / "checkpoints" / "executor" / "tokenizer.json").open("a") as file:
        file.write(" ")
    [line] = all_mistakes()
    assert line.startswith(f"executor: tokenizer.json in {HOST}/executor is not the file")


def test_the_engine_needs_weights_in_its_form(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled / "checkpoints" / "executor"
    shutil.rmtree(folder / "ctranslate2")
    card = json.loads((folder / "card.json").read_text())
    card["files"] = {name: digest for name, digest in card["files"].items() if not name.startswith("ctranslate2/")}
    (folder / "card.json").write_text(json.dumps(card))
    [line] = all_mistakes()
    assert line.startswith(f"executor: {HOST}/executor has no weights for CTranslate2.")
    monkeypatch.setenv("WAYMARK_MODELS", "gpu")  # transformers, unless an engine is named
    assert all_mistakes() == []


def test_the_script_ends_with_two_and_prints_each_line_once(filled: Path) -> None:
    settings = {"WAYMARK_MAX_BATCH": "0", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPT)], cwd=filled, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("WAYMARK_MAX_BATCH=0: ")
