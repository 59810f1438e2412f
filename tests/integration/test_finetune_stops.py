"""Fine-tuning that must stop: a loss that is not finite, a signal, and which weights are kept until then."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.oracle import one_of_each_task, rule_annotations
from tests.training_runs import TINY, Training
from training.cli import app
from training.datasets import Example, examples
from training.export import export
from training.finetune import Run
from training.interruption import Interruption
from training.selection import DevScores, share_by_verb
from waymark.errors import TrainingDiverged, WaymarkError
from waymark.worlds.scienceworld.prompts.compact import COMPACT

SCORES = {"role": "executor", "prompt_format": "compact", "command": "x", "data_sha256": "0"}


@pytest.fixture(scope="module")
def corpus() -> list[Example]:
    chosen = one_of_each_task()[:4]
    return examples(chosen, rule_annotations(chosen), "executor", COMPACT)[:40]


@pytest.fixture(scope="module")
def done(corpus: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that went well."""
    folder = tmp_path_factory.mktemp("done")
    list(Run(folder, TINY, corpus, corpus).train())
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- diverging -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [{"learning_rate": 1e30}, {"learning_rate": 1e30, "evaluate_every": 1}])
def test_training_stops_at_the_first_loss_that_is_not_finite(
    changed: dict[str, Any], corpus: list[Example], tmp_path: Path
) -> None:
    recipe = replace(TINY, warmup=0, steps=9, **changed)
    run = Run(tmp_path / "run", recipe, corpus, corpus)
    with pytest.raises(TrainingDiverged, match=r"at step \d, learning rate .* is nan.*Set a lower learning_rate"):
        list(run.train())
    assert run.step < recipe.steps
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["gradient_norm"] > 0
    assert all(math.isfinite(value) for row in rows for value in row.values())
    kept = tmp_path / "run" / "best" / "model.safetensors"
    assert not kept.exists() or all(tensor.isfinite().all() for tensor in load_file(kept).values())
    assert not list((tmp_path / "run").rglob("*.partial"))


def test_an_update_that_overflows_stops_training(corpus: list[Example], tmp_path: Path) -> None:
    run = Run(tmp_path / "run", replace(TINY, warmup=0, steps=9, learning_rate=1e38), corpus, corpus)
    with pytest.raises(TrainingDiverged, match=r"at step \d, .* an update is too large .*Set a lower learning_rate"):
        list(run.train())


def test_weights_that_are_not_finite_replace_none(done: Path, corpus: list[Example], tmp_path: Path) -> None:
    run = Run(tmp_path / "run", TINY, corpus, corpus)
    run.save(tmp_path / "kept")
    before = files(tmp_path / "kept")
    with torch.no_grad():
        run.model.decoder.final_layer_norm.weight[0] = math.inf
    with pytest.raises(TrainingDiverged, match=r"final_layer_norm\.weight are not finite"):
        run.save(tmp_path / "kept")
    with pytest.raises(TrainingDiverged, match="the dev loss is nan"):
        run._select()
    assert files(tmp_path / "kept") == before
    assert not (tmp_path / "run" / "best").exists()
    assert not (tmp_path / "run" / "state.pt").exists()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_export_of_broken_weights_keeps_the_old_checkpoint(bad: float, done: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name, content in files(done).items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(content)
    export(run, tmp_path / "out" / "executor", **SCORES)  # type: ignore[arg-type]
    before = files(tmp_path / "out")
    weights = load_file(run / "best" / "model.safetensors")
    weights["shared.weight"][3, 3] = bad
    save_file(weights, run / "best" / "model.safetensors", metadata={"format": "pt"})
    for output in ("executor", "new"):
        with pytest.raises(TrainingDiverged, match=r"shared\.weight holds NaN or infinity"):
            export(run, tmp_path / "out" / output, **SCORES)  # type: ignore[arg-type]
    (run / "best" / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}{}{}{}")
    with pytest.raises(WaymarkError, match=f"{run}/best/model.safetensors is no safetensors file"):
        export(run, tmp_path / "out" / "new", **SCORES)  # type: ignore[arg-type]
    assert files(tmp_path / "out") == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["executor"]


# --- stopping --------------------------------------------------------------------------------------------------------


def stop_during(run: Run, when: str, number: int) -> list[dict[str, float]]:
    """Train, and send this process a signal after the third step, or in the middle of the second evaluation."""
    rows = []
    for row in run.train():
        rows.append(row)
        if when == "step" and row["step"] == 3 and "loss" in row:
            os.kill(os.getpid(), number)
        if when == "evaluation" and row["step"] == 4 and "loss" in row:
            os.kill(os.getpid(), number)
    return rows


@pytest.mark.parametrize(
    ("when", "number"),
    [("step", signal.SIGINT), ("evaluation", signal.SIGTERM), ("step", signal.SIGHUP)],
    ids=["ctrl-c", "term-when-an-evaluation-is-due", "hangup"],
)
def test_a_signal_ends_a_run_with_its_state_saved(
    when: str, number: signal.Signals, corpus: list[Example], done: Path, tmp_path: Path
) -> None:
    reports: list[str] = []
    with Interruption(reports.append) as stop:
        run = Run(tmp_path, TINY, corpus, corpus, interruption=stop)
        rows = stop_during(run, when, number)
    assert reports == [number.name]
    assert stop.exit_code == 128 + number
    assert sum("dev_loss" in row for row in rows) == 1  # the second one is due, and made by the run that resumes
    assert signal.getsignal(number) is not stop._note
    resumed = Run(tmp_path, TINY, corpus, corpus)
    assert resumed.step == run.step == 4  # the update under way is finished
    rows += resumed.train()
    assert [row["step"] for row in rows if "dev_loss" in row] == [2, 4]
    uninterrupted = [json.loads(line) for line in (done / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["dev_loss"] == uninterrupted[-1]["dev_loss"]
    assert not list(tmp_path.glob("*partial*"))


def test_a_signal_ends_an_evaluation_before_it_is_complete(corpus: list[Example], tmp_path: Path) -> None:
    with Interruption() as stop:
        run = Run(tmp_path, TINY, corpus, corpus, interruption=stop)
        steps = run.train()
        assert "loss" in next(steps)
        assert "loss" in next(steps)
        many = corpus * 20
        run._dev = many
        began = run._read([(example.prompt, example.target) for example in many])
        next(began)
        os.kill(os.getpid(), signal.SIGTERM)
        assert list(steps) == []
    assert not (tmp_path / "best").exists()
    assert Run(tmp_path, TINY, corpus, corpus).step == 2


def test_a_second_signal_insists_and_ignored_ones_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as stop:
            os.kill(os.getpid(), signal.SIGHUP)  # as after nohup
            assert stop.signal is None
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # as a launcher passes on what the terminal has sent already
            assert stop.signal == signal.SIGINT
            stop._since -= 2
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_command_saves_its_state_and_says_so(tmp_path: Path) -> None:
    training = Training(tmp_path)
    recipe = replace(TINY, steps=100_000, evaluate_every=100_000)
    process = training.start("run", recipe)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not metrics.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 143, output
    assert "SIGTERM: stopping after this step" in output
    assert "its state is saved, and the same command resumes from it" in output
    assert "Traceback" not in output
    step = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"]
    assert 0 < step < recipe.steps
    assert f"Stopped at step {step};" in output
    first = json.loads(metrics.read_text().splitlines()[0])
    assert first["step"] == 1
    assert {"loss", "gradient_norm", "tokens_per_second", "memory_mb", "seconds_left"} < first.keys()
    assert "step 1/100000: loss " in output


def test_a_full_disk_leaves_the_last_state_and_weights(corpus: list[Example], tmp_path: Path) -> None:
    run = Run(tmp_path, TINY, corpus, corpus)
    next(row for row in run.train() if "dev_loss" in row)
    before = {name: content for name, content in files(tmp_path).items() if name.startswith(("state", "best"))}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # files end there, as on a full disk
    try:
        for save in (run._save_state, lambda: run.save(tmp_path / "best", run.best)):
            with pytest.raises(OSError, match=r"perhaps the disk is full|File too large"):
                save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    after = {name: content for name, content in files(tmp_path).items() if name.startswith(("state", "best", "."))}
    assert after == before


def test_a_reader_that_leaves_does_not_end_the_training(tmp_path: Path) -> None:
    training = Training(tmp_path)
    process = training.start("run", replace(TINY, steps=12))
    assert process.stdout is not None
    assert "Reading " in process.stdout.readline()
    process.stdout.close()  # as `finetune | head -1`
    process.wait(timeout=300)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "dev_loss" in row] == [2, 4, 6, 8, 10, 12]


def test_a_folder_that_a_kill_left_half_replaced_is_recovered(
    corpus: list[Example], done: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path, TINY, corpus, corpus)
    list(run.train())
    (tmp_path / "best").rename(tmp_path / ".best.replaced")
    Run(tmp_path, TINY, corpus, corpus)
    assert (tmp_path / "best" / "model.safetensors").is_file()
    assert not (tmp_path / ".best.replaced").exists()


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_ties_are_decided_by_loss_then_by_later_step() -> None:
    best = DevScores(loss=1.0, exact_match=0.5)
    for scores, is_better, replaces in (
        (DevScores(2.0, 0.6), True, True),
        (DevScores(0.9, 0.5), True, True),
        (DevScores(1.0, 0.5), False, True),
        (DevScores(1.1, 0.5), False, False),
        (DevScores(0.1, 0.4), False, False),
    ):
        assert (scores.is_better_than(best), scores.replaces(best)) == (is_better, replaces)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_weights_whose_dev_loss_is_no_number_replace_none(loss: float) -> None:
    broken = DevScores(loss, 0.9)
    assert not broken.replaces(DevScores(5.0, 0.1))
    assert DevScores(5.0, 0.1).replaces(broken)
    assert broken.replaces(broken)  # the first evaluation is kept, whatever it is


def test_of_equal_evaluations_the_lowest_loss_is_kept(corpus: list[Example], tmp_path: Path) -> None:
    run = Run(tmp_path / "run", replace(TINY, steps=8, learning_rate=1e-4), corpus, corpus)
    rows = [row for row in run.train() if "dev_loss" in row]
    assert {row["dev_exact_match"] for row in rows} == {0.0}  # nothing is learnt so soon
    wanted = min(rows, key=lambda row: row["dev_loss"])
    assert wanted["step"] == 8
    kept = json.loads((tmp_path / "run" / "best" / "dev.json").read_text())
    assert (kept["step"], kept["loss"]) == (wanted["step"], wanted["dev_loss"])
    card = export(tmp_path / "run", tmp_path / "out", **SCORES)  # type: ignore[arg-type]
    assert card.training.steps == 8
    assert card.training.dev["majority"] == pytest.approx(run.baseline.exact_match, abs=1e-4)
    assert {name for name in card.training.dev if "/" in name} == {f"exact_match/{verb}" for verb in run.best.by_verb}
    assert len(card.training.recipe_sha256) == 64


def test_exact_match_is_reported_by_verb_beside_the_baseline(corpus: list[Example], tmp_path: Path) -> None:
    run = Run(tmp_path, TINY, corpus, corpus)
    counts = Counter(example.target for example in corpus)
    assert counts[run.baseline.answer] == max(counts.values())
    guessed = sum(example.target == run.baseline.answer for example in run._dev)
    assert run.baseline.exact_match == guessed / len(run._dev)
    scores = run.evaluate(run._dev)
    shares = [scores.by_verb[verb] * count for verb, count in run.baseline.verbs.items()]
    assert sum(shares) == pytest.approx(scores.exact_match * len(run._dev))
    corpus_of_verbs = [replace(corpus[0], target=f"verb{number} it") for number in range(40)]
    assert len(share_by_verb(corpus_of_verbs, [True] * 40)) == 13  # a large model may name hundreds of verbs


def test_curves_are_drawn_of_finished_and_failed_runs(tmp_path: Path, capsys: Any) -> None:
    training = Training(tmp_path)
    for name, recipe in {"good": TINY, "bad": replace(TINY, learning_rate=1e30, warmup=0)}.items():
        picture = tmp_path / f"{name}.svg"
        arguments = [*training.arguments(str(tmp_path / name), recipe), f"--plot={picture}"]
        if name == "bad":
            with pytest.raises(TrainingDiverged):
                app(arguments, standalone_mode=False)
        else:
            app(arguments, standalone_mode=False)
        assert "nats a token" in picture.read_text()
    output = capsys.readouterr().err
    assert "1 process on cpu" in output
    assert "dev baseline: always answering 'end'" in output
    assert "% of prompts and 0.0% of answers are cut" in output
    assert "exact match 0.000 (baseline 0.5" in output
    assert "by verb: end 0.00 of " in output
