"""`python -m training reproduce` at toy size: a tiny T5 made on the spot, three task types, real episodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.oracle import one_of_each_task, rule_annotations
from tests.training_runs import TINY_SHAPE
from training.load_examples import Wording
from training.recipe import Recipe
from training.reproduce.random_base import make_base

ROOT = Path(__file__).parents[1]
SECONDS = 900
"""For one run on a machine that is busy with other things; a quiet one takes half a minute."""
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


def make_folder(folder: Path) -> Path:
    """Put a base model and a recipe into a folder."""
    paths = one_of_each_task()[:5]
    examples = Wording("executor", "seed").examples(paths, rule_annotations(paths))
    shape = Recipe(**{**TINY_SHAPE, "vocabulary": 500})
    make_base(folder / "base", shape, [text for example in examples for text in (example.prompt, example.target)])
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    return folder


def start(folder: Path, *options: str, model: str = "base", output: str = "out") -> subprocess.Popen[str]:
    """The command, in its folder and in a process group of its own. Errors and output are one stream."""
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
    """Exit code and what it printed."""
    process = start(folder, *options, model=model, output=output)
    try:
        printed, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
        raise
    return process.returncode, printed
