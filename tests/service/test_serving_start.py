"""Starting a model service: what stops it, in one line and before its port opens."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.env_runner.settings import Settings
from tests.checkpoints import T5, make_folder, write_model
from waymark.errors import InvalidInput
from waymark.inference.checkpoint import CARD, CheckpointCard, write_card
from waymark.serving.settings import ServiceSettings, read, read_settings


def start(module: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a service that is expected to end by itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
    return subprocess.run(
        [sys.executable, "-m", module],
        env={**environment, "WAYMARK_PORT": "0", **{f"WAYMARK_{name}": value for name, value in settings.items()}},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def assert_one_line(ended: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert ended.returncode == code
    lines = ended.stderr.splitlines()
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]


def test_a_checkpoint_of_another_role_ends_it_with_one_line(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "flat", "flat")
    assert_one_line(start("services.executor", CHECKPOINTS=f"default={folder}"), 2, "flat", "executor")


def test_a_changed_checkpoint_file_ends_the_service_with_one_line(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "controller", "controller")
    write_model(folder, T5, 2.0)
    assert_one_line(start("services.controller", CHECKPOINTS=f"default={folder}"), 2, "model.safetensors")


def test_a_contradictory_config_ends_the_service_with_one_line(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "executor", config={**T5, "d_ff": 8})
    (folder / "config.json").write_text(json.dumps(T5))
    write_card(folder, CheckpointCard.model_validate_json((folder / CARD).read_bytes()))
    assert_one_line(start("services.executor", CHECKPOINTS=f"default={folder}"), 2, "says d_ff 6, its weights 8")


def test_a_port_in_use_ends_it_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_one_line(start("services.controller", ENGINE="scripted", PORT=port), 3, port, "WAYMARK_PORT")


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("HOST", "0.0.0.0", "WAYMARK_ALLOW_REMOTE"),
        ("PORT", "99999", "WAYMARK_PORT=99999"),
        ("ENGINE", "abacus", "ctranslate2"),
        ("CHECKPOINTS", "checkpoints/executor", "name=folder"),
        ("OWN_CORES", "2", "WAYMARK_OWN_CORES=2"),
        ("BODY_RATE", "inf", "WAYMARK_BODY_RATE=inf: .* finite"),
        ("HOST", "9" * 5_000, "WAYMARK_HOST=999"),
        ("ALLOWED_HOSTS", "-" * 5_000, "WAYMARK_ALLOWED_HOSTS=---"),
        ("DEVICE", "c\x1b[31muda", "a control character"),
        ("DEVICE", "c\udcffuda", "not UTF-8"),
    ],
)
def test_a_wrong_setting_is_quoted(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, word: str) -> None:
    monkeypatch.setenv(f"WAYMARK_{variable}", value)
    with pytest.raises(InvalidInput, match=word) as refused:
        read_settings()
    assert len(str(refused.value)) < 1_000
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("value", ["{", "[]", "null", "5", '{"temperature": NaN}', '{"key": "s3cret"'])
def test_parameters_that_are_no_json_object_are_not_quoted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WAYMARK_PLANNER_PARAMETERS", value)
    with pytest.raises(InvalidInput, match="WAYMARK_PLANNER_PARAMETERS=…: give a JSON object") as refused:
        read(Settings)
    assert "s3cret" not in str(refused.value)


def test_line_breaks_and_marks_of_variable_files_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"RUNS": "runs of mine\r", "SLOTS": "3\r\n", "ENVIRONMENT": "\ufeffscripted\r", "PLANNER_PARAMETERS": "\r"}
    for name, value in values.items():
        monkeypatch.setenv(f"WAYMARK_{name}", value)
    settings = read(Settings)
    assert (settings.runs, settings.slots, settings.environment) == (Path("runs of mine"), 3, "scripted")
    assert settings.planner_parameters == {"temperature": 0}


def test_a_secret_may_hold_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_REDIS_PASSWORD", "\ufeffp\x1bw\r")
    assert read(Settings).redis_password.get_secret_value() == "\ufeffp\x1bw\r"


def test_checkpoints_are_named_in_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_CHECKPOINTS", "default=a/b, flat=c")
    assert read_settings().checkpoints_of("executor") == {"default": Path("a/b"), "flat": Path("c")}
    assert ServiceSettings(checkpoints=None).checkpoints_of("controller") == {"default": Path("checkpoints/controller")}


def test_an_empty_checkpoints_variable_means_those_that_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_CHECKPOINTS", "")
    assert set(read_settings().checkpoints_of("executor")) == {"default", "flat"}


def test_a_first_checkpoint_is_loaded_if_it_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert ServiceSettings(checkpoints=None).checkpoints_of("controller") == {
        "default": Path("checkpoints/controller"),
        "first": Path("checkpoints/first"),
    }
    assert set(ServiceSettings(checkpoints=None).checkpoints_of("executor")) == {"default", "flat"}
