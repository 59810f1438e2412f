"""What `python -m training reproduce` refuses before it begins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faulty_annotator import FaultyAnnotator
from tests.reproduction import make_folder, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("reproduce"))


@pytest.fixture
def endpoint() -> Iterator[FaultyAnnotator]:
    with FaultyAnnotator() as server:
        yield server


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
    assert "over --budget 0.01" in told
    assert not endpoint.asked
    away = ("--annotator", "llm", "--url", "http://127.0.0.1:9/v1", "--llm-model", "stand-in", "--yes")
    code, told = run(folder, *away, output="refused")
    assert code == 2
    assert "failed at a first question" in " ".join(told.split())
