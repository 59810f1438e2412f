"""What the commands of `python -m training` refuse: one line, exit code 2, nothing written, no traceback."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.oracle import rule_annotations, trajectories, write_paths
from training.annotations import Annotation, write_annotations
from training.cli import main
from training.recipe import read_recipe, recipe_sha256
from training.trajectories import Trajectory
from waymark.inference.checkpoint import load

ROOT = Path(__file__).parents[2]
CHOSEN = [
    next(trajectory for trajectory in trajectories() if (trajectory.task_id, trajectory.split) == (task, split))
    for task in ("4-2", "7-1")
    for split in ("train", "dev")
]


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command prints before it exits with code 2. It leaves nothing behind."""
    before = set(Path().rglob("*"))
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert set(Path().rglob("*")) == before
    out, err = capsys.readouterr()
    assert exit_.value.code == 2, err
    assert out == ""
    lines = [
        line
        for line in err.splitlines()
        if not re.match(r"Reading |.* left out|.* are ignored|.* published train variations|(train|dev) examples", line)
    ]
    assert len(lines) == 1, err
    return lines[0]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with good and bad files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write_tables(tmp_path, CHOSEN, list(rule_annotations(CHOSEN).values()))
    write_paths([replace(CHOSEN[0], task_id="coin")], tmp_path, "games")
    Path("recipe.json").write_text('{"batch": 4, "steps": 2}')
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("text").write_text("no table")
    Path("zeros").write_bytes(b"PAR1" + bytes(64))
    Path("text.manifest.json").write_text(json.dumps({"sha256": hashlib.sha256(b"no table").hexdigest()}))
    pq.write_table(pa.table({"task_id": ["4-2"]}), "columns.parquet")
    Path("list.json").write_text("[]")
    Path("cut.json").write_text('{"batch": 4')
    Path("deep.json").write_text("[" * 100_000)
    Path("bytes.json").write_bytes(b"\xff\xfe\x00")
    Path("unknown.json").write_text('{"bacth": 4}')
    Path("typed.json").write_text('{"batch": "4"}')
    return tmp_path


def write_tables(folder: Path, paths: Sequence[Trajectory], annotations: Sequence[Annotation]) -> None:
    write_paths(paths, folder, "data")
    write_annotations(annotations, folder / "annotations.parquet")


TABLES = ["--data", "data.parquet", "--annotations", "annotations.parquet"]
FINETUNE = ["finetune", "executor", "--recipe", "recipe.json", *TABLES]
CASES: list[tuple[list[str], str]] = [
    # numbers and names
    (["trajectories", "--limits", "3-3=x"], "got '3-3=x'"),
    (["trajectories", "--limits", "3-3=-5"], "got '3-3=-5'"),
    (["trajectories", "--limits", "3-3"], "got '3-3'"),
    (["trajectories", "--limits", "3-3=1,3-3=2"], "each task once"),
    (["trajectories", "--limits", "3-9=1"], "Unknown task '3-9'"),
    (["trajectories", "--limit", "-3"], "--limit"),
    (["trajectories", "--takes", "-1"], "--takes"),
    (["trajectories", "--processes", "0"], "--processes"),
    (["trajectories", "--paths", "silver"], "--paths"),
    (["trajectories", "--sampling", "some"], "--sampling"),
    (["trajectories", "--split", "validation"], "Unknown split 'validation'"),
    (["trajectories", "--tasks", "4-2,"], "Unknown task ''"),
    (["trajectories", "--output", "folder"], "it is a folder"),
    (["trajectories", "--output", "text/data.parquet"], "text is not a folder"),
    (["corrections", "--data", "absent.parquet"], "absent.parquet"),
    (["corrections", "--rollouts", "0"], "--rollouts"),
    (["datasets", "planner", *TABLES], "controller"),
    (["datasets", "executor", "--format", "prose", *TABLES], "Unknown prompt format 'prose'"),
    (["datasets", "executor", "--recipe", "recipe.json", "--format", "transcript", "--no-history"], "-nohistory"),
    (["datasets", "executor", "--sampling", "some", *TABLES], "--sampling"),
    (["datasets", "controller", "--controller", "often", *TABLES], "--controller"),
    ([*FINETUNE, "--as-published", "--format", "compact"], "Only the formats seed and seed-imported were published"),
    (["datasets", "executor", "--recipe", "recipe.json", "--output", "text", *TABLES], "text is not a folder"),
    ([*FINETUNE, "--steps", "-1"], "--steps"),
    ([*FINETUNE, "--steps", "many"], "--steps"),
    ([*FINETUNE, "--seed", "-1"], "--seed"),
    ([*FINETUNE, "--save-minutes", "-1"], "--save-minutes"),
    ([*FINETUNE, "--format", ""], "Unknown prompt format ''"),
    (["finetune", "planner"], "controller"),
    (["finetune"], "role"),
    (["finetune", "executor", "--recpie", "x"], "--recpie"),
    (["finetoon"], "finetoon"),
    # recipes
    ([*FINETUNE, "--recipe", "absent.json"], "Cannot read the recipe absent.json"),
    ([*FINETUNE, "--recipe", "folder"], "Cannot read the recipe folder"),
    ([*FINETUNE, "--recipe", "list.json"], "not a JSON object"),
    ([*FINETUNE, "--recipe", "cut.json"], "is not JSON"),
    ([*FINETUNE, "--recipe", "deep.json"], "is not JSON"),
    ([*FINETUNE, "--recipe", "bytes.json"], "is not JSON"),
    ([*FINETUNE, "--recipe", "unknown.json"], "Did you mean 'batch'?"),
    ([*FINETUNE, "--recipe", "typed.json"], "batch = '4'"),
    ([*FINETUNE, "--seed", "1" + "0" * 30], "less than or equal to 1000000000"),
    ([*FINETUNE, "--set", "batch=1" + "0" * 30], "less than or equal to 1000000000"),
    ([*FINETUNE, "--set", "learning_rate=Infinity"], "finite number"),
    ([*FINETUNE, "--set", "max_input_tokens=2"], "greater than 2"),
    ([*FINETUNE, "--set", "max_new_tokens=100000"], "less than or equal to 65536"),
    (["datasets", "flat", "--recipe", "cut.json", *TABLES], "is not JSON"),
    # tables
    ([*FINETUNE, "--data", "absent.parquet"], "absent.parquet is not there"),
    ([*FINETUNE, "--data", "folder"], "folder is not there"),
    ([*FINETUNE, "--data", "text"], "text is not a table of trajectories"),
    ([*FINETUNE, "--annotations", "absent.parquet"], "Cannot read a table of annotations absent.parquet: no such file"),
    ([*FINETUNE, "--annotations", "folder"], "folder: it is not a file"),
    ([*FINETUNE, "--annotations", "pipe"], "pipe: it is not a file"),
    ([*FINETUNE, "--annotations", "text"], "text is not a table of annotations"),
    ([*FINETUNE, "--annotations", "zeros"], "zeros is not a table of annotations"),
    ([*FINETUNE, "--annotations", "columns.parquet"], "columns.parquet is not a table of annotations"),
    ([*FINETUNE, "--annotations", "data.parquet"], "data.parquet is not a table of annotations"),
    (["datasets", "flat", "--recipe", "recipe.json", *TABLES, "--annotations", "absent"], "absent"),
    (["rules", *TABLES, "--annotations", "absent"], "absent"),
    (["score", "absent", *TABLES, "--annotations", "text"], "text is not a table"),
    (["score", "absent", *TABLES], "No checkpoint at absent"),
    (["score", *TABLES], "The folder checkpoints holds no checkpoints"),
    (["score", "absent", "--role", "planner", *TABLES], "--role"),
    (["compare", "annotations.parquet", "absent"], "absent"),
    (["subgoals", "--annotations", "absent"], "absent"),
    (["subgoals", "--annotations", "annotations.parquet", "--output", "folder"], "it is a folder"),
    (["annotate", "--data", "absent"], "absent is not there"),
    (["annotate", "--data", "data.parquet", "--output", "folder"], "it is a folder"),
    (["annotate", "--annotator", "llm", "--data", "data.parquet"], "WAYMARK_LLM_URL"),
    (["annotate", "--annotator", "llm", "--cache", "text", "--data", "data.parquet"], "text is not a folder"),
    (["annotate", "--give-up-after", "-1"], "--give-up-after"),
    # tables of another world
    *(
        (
            [*arguments, "games.parquet"],
            "games.parquet holds paths of TextWorldExpress (task coin), not of ScienceWorld",
        )
        for arguments in (
            [*FINETUNE, "--data"],
            ["datasets", "flat", "--recipe", "recipe.json", *TABLES, "--data"],
            ["rules", *TABLES, "--data"],
            ["score", "absent", *TABLES, "--data"],
            ["folds", "--data"],
            ["annotate", "--data"],
            ["trajectories", "--tasks", "4-2", "--output"],
        )
    ),
    ([*FINETUNE, "--world", "textworld-express"], "data.parquet holds paths of ScienceWorld (task 4-2)"),
    # runs and checkpoints
    ([*FINETUNE, "--run", "text"], "text is not a folder"),
    ([*FINETUNE, "--run", "text/run"], "text is not a folder"),
    ([*FINETUNE, "--run", "/proc/run"], "Cannot write to the folder /proc/run"),
    (["trajectories", "--output", "/proc/data.parquet"], "Cannot write to the folder /proc"),
    (["finetune", "nobody"], "Invalid value for 'role': 'nobody' is not one of"),
    ([*FINETUNE, "--plot", "x.gif"], "x.gif"),
    ([*FINETUNE, "--plot", "absent/x.png"], "absent"),
    ([*FINETUNE, "--base", "./absent"], "no base folder ./absent"),
    ([*FINETUNE, "--base", "folder"], "has no config.json"),
    ([*FINETUNE, "--base", "not a name"], "no model on the hub can have that name"),
    (["export", "executor", "--run", "absent", "--data", "data.parquet"], "absent holds no run"),
    (["export", "executor", "--run", "text", "--data", "data.parquet"], "text holds no run"),
    (["convert", "absent", "out", "--role", "executor", "--format", "seed"], "absent holds no model"),
    (["convert", "folder", "out", "--role", "executor", "--format", "seed"], "folder holds no model"),
    (["convert", "folder", "out", "--role", "executor", "--format", "prose"], "Unknown prompt format 'prose'"),
    (["convert", "folder", "out", "--max-new-tokens", "0"], "--max-new-tokens"),
]


@pytest.mark.parametrize(("arguments", "message"), CASES, ids=[" ".join(arguments[-3:]) for arguments, _ in CASES])
def test_wrong_arguments_are_one_line_and_exit_code_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    before = sorted(place.rglob("*"))
    assert message in refused(arguments, capsys)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    "content", ["{", "[]", "null", '{"file": "data.parquet"}', '{"sha256": 1}', '{"sha256": "0"}', "\xff"]
)
def test_a_damaged_manifest_is_one_line(content: str, capsys: pytest.CaptureFixture[str], place: Path) -> None:
    (place / "data.manifest.json").write_bytes(content.encode("latin-1"))
    assert "manifest" in refused(FINETUNE, capsys)


@pytest.mark.parametrize(
    ("name", "content"), [("origin.json", "{"), ("origin.json", '{"role": "executor"}'), ("recipe.json", "[1")]
)
def test_a_damaged_run_folder_is_one_line(
    name: str, content: str, capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    (place / "run" / "best").mkdir(parents=True)
    (place / "run" / "state.pt").touch()
    (place / "run" / "recipe.json").write_text("{}")
    (place / "run" / name).write_text(content)
    for arguments in ([*FINETUNE, "--run", "run"], ["export", "executor", "--run", "run", "--data", "data.parquet"]):
        assert name in refused(arguments, capsys)


# --- annotations that do not fit --------------------------------------------------------------------------------------


def test_paths_without_annotation_are_left_out_and_counted(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    named = list(rule_annotations(CHOSEN).values())
    unknown = replace(named[0], variation=77)
    write_tables(place, CHOSEN, [named[0], named[1], named[3], unknown])
    message = (
        "1 of 4 paths have no annotation and are left out; "
        "1 annotations are of paths that are not in the data and are ignored."
    )
    datasets = ["datasets", "executor", "--recipe", "recipe.json", "--output", "made", *TABLES]
    assert run_command(datasets) == 0
    err = capsys.readouterr().err
    assert message in err
    assert all(bar in err for bar in ("train examples", "dev examples", "tokenizer", "counting"))
    manifest = json.loads(Path("made/manifest.json").read_text())
    assert manifest["paths_without_annotation"] == 1
    tasks = manifest["splits"]["train"]["tasks"]
    assert list(tasks) == ["4-2"]
    assert run_command(["rules", *TABLES]) == 0
    assert message in capsys.readouterr().err
    missing = f"task 7-1 variation {CHOSEN[2].variation}"
    for arguments in (datasets, FINETUNE, ["rules", *TABLES], ["score", "absent", *TABLES]):
        if arguments[0] == "score":
            write_tables(place, CHOSEN, [named[0], named[1], named[2]])
            missing = f"task 7-1 variation {CHOSEN[3].variation}"
        line = refused([*arguments, "--require-all"], capsys)
        assert "paths have no annotation; the first is " + missing in line
        assert "leave out --require-all" in line


@pytest.mark.parametrize("fault", ["none", "twice", "other table", "gap", "no segments", "other takes"])
def test_annotations_of_another_table_are_refused(fault: str, capsys: pytest.CaptureFixture[str], place: Path) -> None:
    named = list(rule_annotations(CHOSEN).values())
    first = named[0]
    changed: dict[str, tuple[list[Annotation], str]] = {
        "none": ([], "4 of 4 paths have no annotation"),
        "twice": ([*named, first], f"annotates task 4-2 variation {first.variation} more than once"),
        "other table": ([replace(first, segments=first.segments[:-2]), *named[1:]], "the path has"),
        "gap": ([replace(first, segments=[first.segments[0], *first.segments[2:]]), *named[1:]], "the path has"),
        "no segments": ([replace(first, segments=[]), *named[1:]], "the path has"),
        "other takes": ([replace(path, take=path.take + 50) for path in named], "4 of 4 paths have no annotation"),
    }
    annotations, message = changed[fault]
    write_tables(place, CHOSEN, annotations)
    for arguments in (["datasets", "flat", "--recipe", "recipe.json", *TABLES], FINETUNE, ["rules", *TABLES]):
        assert message in refused(arguments, capsys)


def test_prompts_that_would_be_cut_are_refused_with_their_share(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    for name, value, message in (
        ("max_input_tokens", 24, "of prompts and 0.0% of answers are cut"),
        ("max_new_tokens", 3, "0.0% of prompts and "),
    ):
        recipe: dict[str, Any] = {"batch": 4, "steps": 2, name: value}
        Path("recipe.json").write_text(json.dumps(recipe))
        line = refused([*FINETUNE, "--run", "run"], capsys)
        assert message in line
        assert f"with {name} = {value}. Set {name} to " in line
        assert "--allow-truncation" in line


def test_published_examples_are_of_the_published_format() -> None:
    Path("recipe.json").write_text('{"batch": 4, "steps": 2, "rename": 0, "drills": 0}')
    options = ["--as-published", "--recipe", "recipe.json", "--output", "made", *TABLES]
    for role, prompt_format in (("controller", "seed-imported"), ("executor", "seed")):
        assert run_command(["datasets", role, *options]) == 0
        manifest = json.loads(Path("made/manifest.json").read_text())
        assert (manifest["prompt_format"], manifest["as_published"]) == (prompt_format, True)
        assert run_command(["finetune", role, *options[:3], "--run", role, "--allow-truncation", *TABLES]) == 0
        words = shlex.split(json.loads(Path(role, "origin.json").read_text())["command"])
        assert {("--format", prompt_format), ("finetune", role)} <= set(itertools.pairwise(words))
        assert "--as-published" in words


def test_processes_that_would_each_train_alone_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # as a launcher sets it, for devices that accelerate does not use
    Path("recipe.json").write_text('{"batch": 4, "steps": 2, "rename": 0, "drills": 0}')
    assert run_command([*FINETUNE, "--run", "alone"]) == 2
    assert "started 2 processes, but accelerate finds no device" in capsys.readouterr().err
    assert not Path("alone/state.pt").exists()


def run_command(arguments: Sequence[str]) -> int | str | None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    return exit_.value.code


def test_a_run_records_its_command_and_resumes_only_by_it(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    recipe = {"batch": 4, "steps": 9, "width": 16, "feedforward": 16, "heads": 2, "vocabulary": 300}
    Path("recipe.json").write_text(json.dumps({**recipe, "encoder_layers": 1, "decoder_layers": 1}))
    named = ["--steps", "2", "--sampling", "published", "--controller", "every-step", "--run", "a run", "--require-all"]
    assert run_command([*FINETUNE, *named]) == 0
    output = capsys.readouterr().err
    assert "train examples" in output
    assert "of the published train variations" in output
    assert "step 1/2: loss " in output
    origin = json.loads(Path("a run/origin.json").read_text())
    words = shlex.split(origin["command"])
    assert words[:5] == ["python", "-m", "training", "finetune", "executor"]
    pairs = set(itertools.pairwise(words))
    expected = [*named[:-1], *TABLES, "--recipe", "recipe.json", "--format", "compact"]
    assert set(zip(expected[::2], expected[1::2], strict=True)) <= pairs
    assert "--require-all" in words
    assert not {"--seed", "--set"} & set(words)
    assert run_command(["export", "executor", "--run", "a run", "--output", "out"]) == 0
    card = load(place / "out", "executor").card
    assert card.training.command == origin["command"]
    assert card.training.recipe_sha256 == recipe_sha256(read_recipe(Path("a run/recipe.json")))
    assert card.training.annotations_sha256 == hashlib.sha256(Path("annotations.parquet").read_bytes()).hexdigest()
    capsys.readouterr()
    assert run_command([*FINETUNE, *named]) == 0  # nothing is left to do
    capsys.readouterr()
    for changed, message in (
        (["--steps", "3"], "was begun with steps = 2; this recipe says 3"),
        (["--seed", "1"], "was begun with seed = 0"),
        (["--sampling", "all"], "other sampling (--sampling)"),
        (["--controller", "on-end"], "begun with --controller every-step, not with examples as serving sends them"),
        (["--format", "seed"], "is a run of role executor in format compact"),
    ):
        assert message in refused([*FINETUNE, *named, *changed], capsys)
    write_tables(place, CHOSEN[:2], list(rule_annotations(CHOSEN).values()))
    assert "other trajectories (--data)" in refused([*FINETUNE, *named], capsys)
    write_tables(place, CHOSEN, list(rule_annotations(CHOSEN).values())[:3])
    assert "other sub-goals (--annotations)" in refused([*FINETUNE, *named[:-1]], capsys)


def test_packages_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ModuleNotFoundError(\"No module named 'pyarrow'\", name='pyarrow')\n")
    command = [sys.executable, "-m", "training", "--help"]
    settings = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert re.fullmatch(r"Training needs packages that are not installed: pyarrow\. Install them: .+\n", done.stderr)
