"""`python -m training trajectories | annotate | datasets | finetune | export`: one command a stage, each resumable."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.annotate import annotate_by_rule, describe, read_annotations, write_annotations
from training.datasets import Example, examples
from training.trajectories import collect, plan, read_table, write_table
from waymark.contracts import Role
from waymark.process import available_cores
from waymark.prompts import get_format
from waymark.tasks import SPLITS, Split, find_task

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console(stderr=True)

DATA = Path("data/trajectories.parquet")
ANNOTATIONS = Path("data/annotations.parquet")
RUNS = Path("build/runs")
RECIPE = Path("training/recipes/small.json")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


def _role(text: str) -> Role:
    if text not in get_args(Role):
        raise typer.BadParameter(f"{text!r} is no role; roles are {', '.join(get_args(Role))}.")
    return cast(Role, text)


@app.command()
def trajectories(
    split: Annotated[list[str] | None, typer.Option(help="train, dev or test; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(help="At most this many variations of a task, spread over its split.")] = 80,
    limits: Annotated[str, typer.Option(help="Other limits by task.")] = "10-1=12,10-2=12",
    simplifications: Annotated[str, typer.Option(help="As ScienceWorld writes them.")] = "easy",
    processes: Annotated[int | None, typer.Option(help="JVMs; default: one a core.")] = None,
    output: Path = DATA,
) -> None:
    """Play oracle paths, keep those whose replay reaches 100, and pack them. Resumes where it was stopped."""
    by_task = {find_task(name).id: int(count) for name, _, count in (one.partition("=") for one in limits.split(","))}
    wanted = []
    for one in split or ["train", "dev"]:
        if one not in SPLITS:
            raise typer.BadParameter(f"{one!r} is no split; splits are {', '.join(SPLITS)}.")
        wanted += plan(one, limit if one == "train" else 3, by_task if one == "train" else {}, simplifications)
    parts = Path("build/trajectories/parts.jsonl")
    with _bar() as bar:
        task = bar.add_task("oracle paths", total=len(wanted))
        for done, total in collect(wanted, parts, processes or available_cores()):
            bar.update(task, completed=done, total=total)
    manifest = write_table(parts, output)
    console.print({key: manifest[key] for key in ("trajectories", "steps", "by_split", "by_form")})
    console.print(f"{len(manifest['failed'])} variations did not reach 100; they are listed in the manifest.")


@app.command()
def annotate(data: Path = DATA, output: Path = ANNOTATIONS) -> None:
    """Split oracle paths into sub-goals by rule."""
    annotations = [annotate_by_rule(trajectory) for trajectory in read_table(data)]
    write_annotations(annotations, output)
    console.print(describe(annotations))


@app.command()
def datasets(
    role: str,
    output: Annotated[Path | None, typer.Option(help="Folder for JSON lines; default build/datasets.")] = None,
    prompt_format: Annotated[str, typer.Option("--format", help="seed or compact.")] = "compact",
    data: Path = DATA,
    annotations: Path = ANNOTATIONS,
) -> None:
    """Write one role's prompts and targets as JSON lines, a file a split, and describe them."""
    folder = output or Path("build/datasets")
    folder.mkdir(parents=True, exist_ok=True)
    for split, corpus in _corpora(_role(role), prompt_format, data, annotations).items():
        path = folder / f"{role}-{prompt_format}-{split}.jsonl"
        path.write_text("".join(json.dumps(asdict(example)) + "\n" for example in corpus))
        words = sorted(len(example.prompt.split()) for example in corpus)
        verbs = Counter(example.target.split(" ")[0] for example in corpus).most_common(8)
        console.print(f"{path}: {len(corpus)} examples, median {words[len(words) // 2]} words, at most {words[-1]}")
        console.print("  " + ", ".join(f"{verb} {count}" for verb, count in verbs))


@app.command()
def finetune(
    role: str,
    run: Annotated[Path | None, typer.Option(help="Run folder; default build/runs/ROLE. Resumes if it exists.")] = None,
    prompt_format: Annotated[str, typer.Option("--format", help="seed or compact.")] = "compact",
    recipe: Annotated[Path, typer.Option(help="JSON file with fields of training.finetune.Recipe.")] = RECIPE,
    base: Annotated[str, typer.Option(help="Start from this folder or hub name; empty: from scratch.")] = "",
    steps: Annotated[int | None, typer.Option(help="Override the recipe's steps.")] = None,
    seed: int = 0,
    data: Path = DATA,
    annotations: Path = ANNOTATIONS,
) -> None:
    """Fine-tune one role's model; selected on dev, resumable."""
    from training.finetune import Recipe, Run

    settings = Recipe(**json.loads(recipe.read_text()))
    settings = replace(settings, base=base or settings.base, seed=seed, steps=steps or settings.steps)
    corpora = _corpora(_role(role), prompt_format, data, annotations)
    trainer = Run(run or RUNS / role, settings, corpora["train"], corpora["dev"])
    sizes = f"{len(corpora['train'])} examples, {len(corpora['dev'])} for dev"
    console.print(f"{role}: {sizes}, {trainer.parameters / 1e6:.2f} M parameters")
    with _bar() as bar:
        task = bar.add_task(role, total=settings.steps, completed=trainer.step)
        for metrics in trainer.train():
            shown = " ".join(f"{name} {value:.3f}" for name, value in metrics.items() if name not in ("step", "time"))
            bar.update(task, completed=trainer.step, description=f"{role} {shown}")
            if "dev_loss" in metrics:
                console.print(f"step {trainer.step}: {shown}")


@app.command()
def export(
    role: str,
    run: Annotated[Path | None, typer.Option(help="Run folder; default build/runs/ROLE.")] = None,
    output: Annotated[Path | None, typer.Option(help="Checkpoint folder; default checkpoints/ROLE.")] = None,
    prompt_format: Annotated[str, typer.Option("--format")] = "compact",
    data: Path = DATA,
) -> None:
    """Make a checkpoint that the services load out of a run's best weights: card, safetensors, CTranslate2 int8."""
    from training.export import export as export_run

    manifest = json.loads(data.with_suffix(".manifest.json").read_text())
    source = run or RUNS / role
    recipe = json.loads((source / "recipe.json").read_text())
    base = f" --base {recipe['base']}" if recipe["base"] else ""
    card = export_run(
        source,
        output or Path("checkpoints") / role,
        role=_role(role),
        prompt_format=prompt_format,
        command=f"python -m training finetune {role} --format {prompt_format}{base} --steps {recipe['steps']} "
        f"--seed {recipe['seed']}",
        data_sha256=manifest["sha256"],
    )
    console.print(f"{card.name}: {card.parameters / 1e6:.2f} M parameters, dev {card.training.dev}")


def _corpora(role: Role, prompt_format: str, data: Path, annotations: Path) -> dict[Split, list[Example]]:
    """One role's examples of the train and dev variations; the table is read once."""
    every, named, writer = read_table(data), read_annotations(annotations), get_format(prompt_format)
    splits: tuple[Split, ...] = ("train", "dev")
    return {split: examples([one for one in every if one.split == split], named, role, writer) for split in splits}


if __name__ == "__main__":
    app()
