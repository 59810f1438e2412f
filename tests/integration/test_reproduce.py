"""What `python -m training reproduce` refuses before it begins."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from tests.faulty_annotator import FaultyAnnotator
from tests.oracle import trajectories, write_paths
from tests.reproduction import run


def test_nothing_begins_without_a_yes(toy_folder: Path) -> None:
    code, printed = run(toy_folder, "--annotator", "rule", output="unasked")
    assert code != 0
    assert "about" in printed
    assert "steps" in printed
    assert not (toy_folder / "unasked").exists()


def test_a_vocabulary_without_extra_tokens_is_refused_first(toy_folder: Path) -> None:
    other = toy_folder / "plain"
    other.mkdir()
    for path in (toy_folder / "base").iterdir():
        text = path.read_bytes()
        (other / path.name).write_bytes(re.sub(rb'"<extra_id_(\d+)>"', rb'"<other_id_\1>"', text))
    code, printed = run(toy_folder, "--annotator", "rule", "--yes", model="plain", output="refused")
    assert code == 2
    assert "lacks 10 of the 10 extra tokens" in " ".join(printed.split())


def test_a_model_of_another_family_is_refused_first(toy_folder: Path) -> None:
    other = toy_folder / "bert"
    other.mkdir()
    for path in (toy_folder / "base").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "config.json").read_text()) | {"model_type": "bert"}
    (other / "config.json").write_text(json.dumps(config))
    code, printed = run(toy_folder, "--annotator", "rule", "--yes", model="bert", output="refused")
    assert code == 2
    assert "model of type 'bert'" in printed


def test_an_expensive_or_unreachable_endpoint_is_refused_first(toy_folder: Path, annotator: FaultyAnnotator) -> None:
    prices = ("--prompt-price", "1000", "--completion-price", "1000", "--budget", "0.01")
    llm = ("--annotator", "llm", "--url", annotator.url, "--llm-model", "stand-in", "--yes")
    code, printed = run(toy_folder, *llm, *prices, output="refused")
    assert code == 2
    assert "over --budget 0.01" in printed
    assert not annotator.asked
    away = ("--annotator", "llm", "--url", "http://127.0.0.1:9/v1", "--llm-model", "stand-in", "--yes")
    code, printed = run(toy_folder, *away, output="refused")
    assert code == 2
    assert "failed at a first question" in " ".join(printed.split())


def test_paths_of_another_world_are_refused_and_kept(toy_folder: Path) -> None:
    (toy_folder / "games").mkdir()
    table = write_paths([replace(trajectories()[0], task_id="coin")], toy_folder / "games")
    before = table.read_bytes()
    code, printed = run(toy_folder, "--annotator", "rule", "--yes", output="games")
    assert code == 2
    assert "trajectories.parquet holds paths of TextWorldExpress (task coin), not of ScienceWorld" in printed
    assert table.read_bytes() == before


def test_the_endpoint_is_asked_before_damaged_annotations_are_replaced(toy_folder: Path) -> None:
    (toy_folder / "damaged").mkdir()
    (toy_folder / "damaged" / "annotations.parquet").write_text("garbage")
    away = ("--annotator", "llm", "--url", "http://127.0.0.1:9/v1", "--llm-model", "stand-in", "--yes")
    code, printed = run(toy_folder, *away, output="damaged")
    assert code == 2
    assert "failed at a first question" in " ".join(printed.split())
    code, printed = run(toy_folder, "--annotator", "rule", output="damaged")  # asks, and nobody answers
    assert code == 2
    assert "annotations.parquet will be written anew" in printed
    assert (toy_folder / "damaged" / "annotations.parquet").read_text() == "garbage"
