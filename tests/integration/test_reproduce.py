"""The published method by one command, at toy size: a tiny T5 made on the spot, three task types, real episodes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faulty_annotator import FaultyAnnotator
from tests.oracle import one_of_each_task, rule_annotations
from training.corpora import Wording
from training.files import sha256_of
from training.recipe import Recipe
from training.reproduce.base import make_base

ROOT = Path(__file__).parents[2]
_SECONDS = 300
RECIPE = {
    "steps": 2,
    "batch": 2,
    "warmup": 1,
    "dropout": 0.0,
    "max_input_tokens": 2048,
    "rename": 0.0,
    "evaluate_every": 2,
    "evaluated": 4,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a base model and a recipe."""
    made = tmp_path_factory.mktemp("reproduce")
    paths = one_of_each_task()[:5]
    examples = Wording("executor", "seed").examples(paths, rule_annotations(paths))
    shape = Recipe(vocabulary=500, width=16, feedforward=32, heads=2, encoder_layers=1, decoder_layers=1)
    make_base(made / "base", shape, [text for one in examples for text in (one.prompt, one.target)])
    (made / "recipe.json").write_text(json.dumps(RECIPE))
    return made


@pytest.fixture
def endpoint() -> Iterator[FaultyAnnotator]:
    with FaultyAnnotator() as server:
        yield server


def start(folder: Path, *options: str, model: str = "base", output: str = "out") -> subprocess.Popen[str]:
    toy = ("--recipe", "recipe.json", "--tasks", "4-1,4-2,2-1", "--limit", "1", "--processes", "1", "--slots", "1")
    play = ("--protocol", "dev", "--variations", "150", "--beams", "2")
    command = ["reproduce", "--model", model, "--output", output, *toy, *play, *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-m", "training", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, *options: str, model: str = "base", output: str = "out") -> tuple[int, str]:
    process = start(folder, *options, model=model, output=output)
    told, _ = process.communicate(timeout=_SECONDS)
    return process.returncode, told


def test_a_killed_reproduction_goes_on_and_ends_with_its_table(folder: Path, endpoint: FaultyAnnotator) -> None:
    llm = ("--annotator", "llm", "--url", endpoint.url, "--llm-model", "stand-in", "--yes")
    process = start(folder, *llm)
    training = folder / "out" / "runs" / "controller" / "best"
    deadline = time.monotonic() + _SECONDS
    while not training.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[0]
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    asked = sum(endpoint.asked.values())

    code, told = run(folder, *llm)
    assert code == 0, told
    assert "trajectories: done" in told
    assert "annotate: done" in told
    assert sum(endpoint.asked.values()) == asked  # nothing is paid for twice
    table = (folder / "out" / "table.md").read_text()
    assert "| published |" in table
    assert "| published_flat |" in table
    assert "65.43" in table
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    for name in ("trajectories.parquet", "annotations.parquet", "checkpoints/flat/card.json", "table.md"):
        assert manifest["files"][name] == sha256_of(folder / "out" / name)
    assert len(manifest["stages"]) == 15


def test_nothing_begins_without_a_yes(folder: Path) -> None:
    code, told = run(folder, "--annotator", "rule", output="unasked")
    assert code != 0
    assert "about" in told
    assert "steps" in told
    assert not (folder / "unasked").exists()


def test_a_vocabulary_without_extra_tokens_is_refused_first(folder: Path) -> None:
    other = folder / "plain"
    other.mkdir()
    for path in (folder / "base").iterdir():
        text = path.read_bytes()
        (other / path.name).write_bytes(re.sub(rb'"<extra_id_(\d+)>"', rb'"<other_id_\1>"', text))
    code, told = run(folder, "--annotator", "rule", "--yes", model="plain", output="refused")
    assert code == 2
    assert "lacks 10 of the 10 extra tokens" in " ".join(told.split())


def test_a_model_of_another_family_is_refused_first(folder: Path) -> None:
    other = folder / "bert"
    other.mkdir()
    for path in (folder / "base").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "config.json").read_text()) | {"model_type": "bert"}
    (other / "config.json").write_text(json.dumps(config))
    code, told = run(folder, "--annotator", "rule", "--yes", model="bert", output="refused")
    assert code == 2
    assert "model of type 'bert'" in told


def test_an_endpoint_that_costs_too_much_or_is_away_is_refused_first(folder: Path, endpoint: FaultyAnnotator) -> None:
    prices = ("--prompt-price", "1000", "--completion-price", "1000", "--budget", "0.01")
    llm = ("--annotator", "llm", "--url", endpoint.url, "--llm-model", "stand-in", "--yes")
    code, told = run(folder, *llm, *prices, output="refused")
    assert code == 2
    assert "over --max-cost 0.01" in told
    assert not endpoint.asked
    away = ("--annotator", "llm", "--url", "http://127.0.0.1:9/v1", "--llm-model", "stand-in", "--yes")
    code, told = run(folder, *away, output="refused")
    assert code == 2
    assert "failed at a first question" in " ".join(told.split())
