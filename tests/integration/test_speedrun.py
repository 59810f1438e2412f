"""The whole way from nothing to checkpoints, tiny, and a training for a GPU that is lent for minutes, on a CPU."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from waymark.inference.checkpoint import load

ROOT = Path(__file__).parents[2]


def test_a_toy_speedrun_makes_checkpoints_and_resumes(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not request.config.getoption("--soak"):
        pytest.skip("takes half a minute on a quiet machine; give --soak")
    output = tmp_path / "made"
    command = ["training/speedrun.sh", "--toy", "--processes", "1", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, check=True)
    for role in ("controller", "executor", "flat"):
        assert load(output / "checkpoints" / role, role).card.prompt_format == "compact"
    again = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert again.stderr.count(": done") == 18
    assert again.stdout.splitlines()[-1].startswith("all ")
    options = ["--data", output / "data/paths.parquet", "--annotations", output / "data/paths-subgoals.parquet"]
    _slot(tmp_path, ["flat", "--format", "compact-reasons", *map(str, options)])


def _slot(tmp_path: Path, arguments: list[str]) -> None:
    recipe = tmp_path / "tiny.json"
    recipe.write_text(
        '{"width": 32, "feedforward": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "batch": 4}'
    )
    settings = {"RECIPE": recipe, "OUT": tmp_path / "out", "RUNS": tmp_path / "runs", "MINUTES": "2", "TRIAL": "4"}
    environment = os.environ | {name: str(value) for name, value in settings.items()}
    subprocess.run(["benchmarks/gpu_slot.sh", *arguments], cwd=ROOT, env=environment, check=True)
    with tarfile.open(tmp_path / "out" / "flat.tar") as packed:
        names = set(packed.getnames())
    assert {"flat/best/model.safetensors", "flat/best/config.json", "flat/origin.json", "flat/recipe.json"} <= names
    assert not [name for name in names if "state.pt" in name]
