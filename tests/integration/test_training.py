"""The offline part for real, small: record paths in a JVM, fine-tune, export, and serve what came out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.oracle import one_of_each_task, rule_annotations, trajectories
from tests.training_runs import TINY_SHAPE
from training.datasets import Example, examples
from training.export import export
from training.finetune import Run
from training.recipe import Recipe
from training.trajectories import Wanted, collect, read_manifest, read_parts, read_table, write_table
from training.worlds.scienceworld.paths import record
from waymark.errors import InvalidInput
from waymark.inference.checkpoint import load
from waymark.inference.open_engine import open_generator
from waymark.worlds.registry import get_world
from waymark.worlds.scienceworld.prompts.compact import COMPACT

SCIENCEWORLD = get_world("scienceworld")
SMALL = Recipe(
    **{**TINY_SHAPE, "vocabulary": 400, "width": 32, "feedforward": 64},
    steps=60,
    batch=16,
    learning_rate=5e-3,
    warmup=5,
    evaluate_every=20,
    evaluated=50,
)


@pytest.fixture(scope="module")
def corpus() -> list[Example]:
    chosen = one_of_each_task()
    return examples(chosen, rule_annotations(chosen), "executor", COMPACT)


def test_an_exported_checkpoint_is_served_alike_by_both_engines(corpus: list[Example], tmp_path: Path) -> None:
    run = Run(tmp_path / "run", SMALL, corpus, corpus)
    for _ in run.train():
        pass
    card = export(
        tmp_path / "run", tmp_path / "executor", role="executor", prompt_format="compact", command="x", data_sha256="0"
    )
    assert card.parameters == run.parameters
    checkpoint = load(tmp_path / "executor", "executor")
    prompts = [example.prompt for example in corpus[::80]]
    answers = {
        engine: [
            answer.candidates[0].text
            for answer in open_generator(engine, checkpoint, device="cpu", dtype="float32").generate(prompts)
        ]
        for engine in ("ctranslate2", "transformers")
    }
    assert answers["ctranslate2"] == answers["transformers"]


def test_recording_resumes_and_keeps_only_solved_paths(tmp_path: Path) -> None:
    parts = tmp_path / "parts.jsonl"
    wanted = [Wanted("7-1", 0, "easy"), Wanted("4-2", 1, "easy")]
    assert list(collect(wanted[:1], parts, 1, record, SCIENCEWORLD))[-1] == (1, 1)
    with parts.open("a") as cut:
        cut.write('{"task_id": "4-2", "variation": 1, "simpl')  # killed while writing
    assert list(collect(wanted, parts, 1, record, SCIENCEWORLD)) == [(1, 2), (2, 2)]
    manifest = write_table(read_parts(parts), tmp_path / "table.parquet", {"limit": 2}, SCIENCEWORLD)
    recorded = read_table(tmp_path / "table.parquet")
    assert manifest["trajectories"] == len(recorded) == 2
    assert all(trajectory.score == 100 and trajectory.form == "direct" for trajectory in recorded)
    (tmp_path / "table.manifest.json").write_text(json.dumps(manifest | {"sha256": "0"}))
    with pytest.raises(InvalidInput, match=r"not the file that its manifest describes\. Record it again"):
        read_table(tmp_path / "table.parquet")
    (tmp_path / "table.manifest.json").unlink()
    for missing in ("table", "none"):
        with pytest.raises(InvalidInput, match=f"{missing}[.a-z]+ is not there. Name one"):
            read_table(tmp_path / f"{missing}.parquet")


def test_task_types_are_recorded_anew_and_all_others_kept(tmp_path: Path) -> None:
    table = tmp_path / "table.parquet"
    kept, old = (
        next(trajectory for trajectory in trajectories() if trajectory.task_id == task) for task in ("4-2", "7-1")
    )
    before = write_table([asdict(kept), asdict(old) | {"variation": 5}], table, {"limit": 9}, SCIENCEWORLD)
    options = ["--split", "train", "--tasks", "7-1", "--limit", "1", "--takes", "0", "--processes", "1"]
    command = [sys.executable, "-m", "training", "trajectories", *options, "--output", str(table)]
    subprocess.run(command, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    manifest, recorded = read_manifest(table), read_table(table)
    assert {(path.task_id, path.variation) for path in recorded} == {("4-2", kept.variation), ("7-1", 0)}
    assert manifest["earlier"] == [before["sha256"]]
    assert manifest["settings"]["limit"] == 9
    assert manifest["settings"]["recorded anew: 7-1"]["limit"] == 1
