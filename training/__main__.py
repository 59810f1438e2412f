"""`python -m training trajectories | corrections | annotate | datasets | finetune | export`: one command a stage, each
resumable; corrections only once there is an agent to correct."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from training.annotate import (
    annotate_by_rule,
    describe,
    first_of_each_task,
    read_annotations,
    training_subgoals,
    write_annotations,
)
from training.corpora import Wording, read_corpora
from training.datasets import MANIFEST, Sampling, write_dataset
from training.gold import PUBLISHED_SEED
from training.options import (
    ANNOTATIONS,
    CHECKPOINTS,
    DATA,
    FORMAT_HELP,
    AsPublishedOption,
    ControllerOption,
    FlatEndsOption,
    SamplingOption,
    default_format,
    progress_bar,
    role_named,
    split_named,
)
from training.recording import PER_TASK, PathSource, Recording
from training.score_command import score
from training.trajectories import collect, read_manifest, read_parts, read_table, rows_of, write_table
from waymark.commands.console import make_streams_safe
from waymark.errors import WaymarkError
from waymark.hints import COMMAND, as_called
from waymark.process import available_cores
from waymark.prompts.history import without_history
from waymark.tasks import TASKS, find_task

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console(stderr=True)

GOLD = Path("build/gold/trajectories.parquet")
SUBGOALS = Path("waymark/subgoal_sources/training.txt")
LLM = Path("build/llm")
RUNS = Path("build/runs")
RECIPE = Path("training/recipes/small.json")


@app.command()
def trajectories(
    split: Annotated[list[str] | None, typer.Option(help="train, dev or test; may be repeated.")] = None,
    paths: Annotated[
        PathSource, typer.Option(help="Played anew by looking (expert), or the simulator's own, as published (gold).")
    ] = "expert",
    sampling: Annotated[
        Sampling,
        typer.Option(help="Variations: spread over each split (all), or those that were published, without takes."),
    ] = "all",
    limit: Annotated[
        int | None,
        typer.Option(help=f"At most this many train variations of a task. Default: {PER_TASK}; published: all.", min=1),
    ] = None,
    limits: Annotated[str, typer.Option(help="Other limits by task, e.g. 3-3=20,10-2=120.")] = "",
    takes: Annotated[int, typer.Option(help="Takes with detours for each task's train variations together.")] = 70,
    misplaced: Annotated[int, typer.Option(help="Takes more whose thing lies elsewhere, where a task has such.")] = 60,
    simplifications: Annotated[str, typer.Option(help="As ScienceWorld writes them.")] = "easy",
    tasks: Annotated[str, typer.Option(help="Record only these anew, e.g. 3-1,8-1; of others --output is kept.")] = "",
    processes: Annotated[int | None, typer.Option(help="JVMs; default: one a core.")] = None,
    output: Annotated[Path | None, typer.Option(help=f"Default: {DATA}; gold: {GOLD}.", show_default=False)] = None,
) -> None:
    """Play oracle paths, keep those whose replay reaches 100, and pack them. Resumes where it was stopped."""
    limited = [one.partition("=") for one in limits.split(",") if one]
    by_task = {find_task(name).id: int(count) for name, _, count in limited}
    chosen = [find_task(name) for name in tasks.split(",")] if tasks else list(TASKS)
    anew = {task.id for task in chosen}
    output = output or (GOLD if paths == "gold" else DATA)
    before = read_manifest(output) if tasks and output.exists() else None
    kept = [asdict(one) for one in read_table(output) if one.task_id not in anew] if before else []
    failed = [one for one in before["failed"] if one["task_id"] not in anew] if before else []
    recording = Recording(paths, sampling, limit, by_task, takes, misplaced, simplifications)
    wanted = recording.plan([split_named(one) for one in split or ["train", "dev"]], chosen)
    parts = recording.parts(tasks)
    with progress_bar(console) as bar:
        task = bar.add_task("oracle paths", total=len(wanted))
        for done, total in collect(wanted, parts, processes or available_cores(), recording.record):
            bar.update(task, completed=done, total=total)
    settings = recording.settings
    if before:  # what is said of the table is still true of most of it
        settings = before["settings"] | {f"recorded anew: {tasks}": settings}
    manifest = write_table(chain(kept, rows_of(wanted, read_parts(parts))), output, settings, failed, before)
    console.print({key: manifest[key] for key in ("trajectories", "steps", "by_split", "by_form")})
    console.print(f"{len(manifest['failed'])} variations did not reach 100; they are listed in the manifest.")


@app.command()
def corrections(
    checkpoints: Annotated[Path, typer.Option(help="Holds the agent's: controller and executor.")] = CHECKPOINTS,
    rollouts: Annotated[int, typer.Option(help="Episodes for each task's train variations together.", min=1)] = 20,
    misplaced: Annotated[int, typer.Option(help="The same where a thing may be carried elsewhere.", min=1)] = 56,
    processes: Annotated[int | None, typer.Option(help="JVMs; default: one a core.")] = None,
    data: Path = DATA,
) -> None:
    """Let the agent play train variations, and add direct paths from where it goes astray to those of earlier agents.
    Resumes."""
    from training.corrections import checkpoints_used, correct, first_take, numbered
    from training.corrections import plan as plan_corrections

    before, used = read_manifest(data), checkpoints_used(checkpoints)
    now = {"rollouts": rollouts, "misplaced": misplaced, **used}
    rounds = before["settings"].get("corrections", [])
    if rounds and now.items() <= rounds[-1].items():
        rounds = rounds[:-1]
    every = [one for one in read_table(data) if one.take < first_take(len(rounds))]
    kept = "-".join([*(sha256[:8] for sha256 in used.values()), str(rollouts), str(misplaced)])
    parts = Path(f"build/trajectories/corrections-{kept}.jsonl")
    with progress_bar(console) as bar:
        task = bar.add_task("episodes", total=None)
        wanted = plan_corrections(every, rollouts, misplaced, checkpoints)
        for done, total in collect(wanted, parts, processes or available_cores(), correct):
            bar.update(task, completed=done, total=total)
    settings = before["settings"] | {"corrections": [*rounds, now]}
    rows = chain(map(asdict, every), numbered(read_parts(parts), len(rounds)))
    manifest = write_table(rows, data, settings, before["failed"], before)
    found = manifest["trajectories"] - len(every)
    console.print(f"{found} corrections; annotate them next: python -m training annotate")


@app.command()
def annotate(
    annotator: Annotated[Literal["rule", "llm"], typer.Option(help="By rule, or a model behind --url.")] = "rule",
    data: Path = DATA,
    output: Annotated[Path | None, typer.Option(help="Default: data/annotations.parquet, llm: build/llm/…")] = None,
    limit: Annotated[int | None, typer.Option(help="With llm: at most this many paths of a task.", min=1)] = None,
    url: Annotated[str, typer.Option(envvar="WAYMARK_LLM_URL", help="Base of a chat endpoint, e.g. …/v1.")] = "",
    model: Annotated[str, typer.Option(envvar="WAYMARK_LLM_MODEL", help="As the endpoint calls it.")] = "",
    key: Annotated[str, typer.Option(envvar="WAYMARK_LLM_KEY", help="Sent as a bearer token.")] = "",
    parameters: Annotated[
        str, typer.Option(help="JSON object: more fields of each request, e.g. max_tokens.")
    ] = '{"temperature": 0}',
    concurrency: Annotated[int, typer.Option(help="Requests at once.", min=1)] = 4,
    attempts: Annotated[int, typer.Option(help="Tries for one request.", min=1)] = 6,
    timeout: Annotated[float, typer.Option(help="Seconds for one try.", min=0.1)] = 300.0,
    prompt_price: Annotated[float | None, typer.Option(help="Price of a million prompt tokens.")] = None,
    completion_price: Annotated[float | None, typer.Option(help="Price of a million completion tokens.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder of answers: what is there is not asked again.")] = LLM / "cache",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be asked; call nothing.")] = False,
) -> None:
    """Split oracle paths into sub-goals, by rule or by a large model. Resumes where it was stopped."""
    paths = read_table(data)
    if annotator == "rule":
        annotations = [annotate_by_rule(trajectory) for trajectory in paths]
        write_annotations(annotations, output or ANNOTATIONS)
        console.print(describe(annotations))
        return
    from training.llm.command import annotate_with_llm, endpoint_from, prices_from, print_prompts
    from waymark.chat import Limits

    if limit is not None:
        paths = first_of_each_task(paths, limit)
    if dry_run:
        print_prompts(Console(emoji=False), paths)
        return
    failed = annotate_with_llm(
        paths,
        endpoint_from(url, model, key, parameters),
        Limits(concurrency, attempts, timeout),
        cache=cache,
        output=output or LLM / "annotations.parquet",
        prices=prices_from(prompt_price, completion_price),
        console=console,
        bar=progress_bar(console),
    )
    raise typer.Exit(1 if failed else 0)


@app.command()
def subgoals(annotations: Path = ANNOTATIONS, output: Path = SUBGOALS) -> None:
    """Write the training sub-goals, each once, that the agent with random ones draws from; they ship with waymark."""
    named = training_subgoals(read_annotations(annotations).values())
    output.write_text("".join(f"{one}\n" for one in named), encoding="utf-8")
    console.print(f"{output}: {len(named)} sub-goals")


@app.command()
def compare(
    left: Annotated[Path, typer.Argument(help="A table of annotations.")],
    right: Annotated[Path, typer.Argument(help="Another, of the same paths.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Compare two annotators: sub-goals a path, lengths, verbs, and how far they agree, by task."""
    from training.compare import compare as compare_annotations

    report = compare_annotations(read_annotations(left), read_annotations(right))
    out = Console()
    if as_json:
        out.print_json(data=report.facts())
        return
    out.print(report.table())
    for line in report.notes():
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def rules(
    data: Path = DATA,
    annotations: Path = ANNOTATIONS,
    as_json: Annotated[bool, typer.Option("--json", help="Every refusal, as one JSON document.")] = False,
) -> None:
    """How many of the oracle's sub-goals the agent's rules of play would refuse, by rule."""
    from training.rules import replay, table

    found = replay(read_table(data), read_annotations(annotations))
    out = Console()
    if as_json:
        out.print_json(data=asdict(found))
        return
    out.print(table(found))
    out.print(f"Of {found.subgoals:,} sub-goals of annotated oracle paths.")


@app.command()
def datasets(
    role: str,
    output: Annotated[Path | None, typer.Option(help="Folder; default build/datasets/ROLE-FORMAT.")] = None,
    prompt_format: Annotated[str, typer.Option("--format", help=FORMAT_HELP)] = "",
    as_published: AsPublishedOption = False,
    controller: ControllerOption = "on-end",
    flat_ends: FlatEndsOption = False,
    history: Annotated[bool, typer.Option(help="Without, the format is FORMAT-nohistory: no earlier turns.")] = True,
    sampling: SamplingOption = "all",
    seed: Annotated[int, typer.Option(help="Seed of the published sampling.")] = PUBLISHED_SEED,
    tokenizer: Annotated[
        str, typer.Option(help="Counts tokens: model folder or hub name; default: the recipe's base, or one learnt.")
    ] = "",
    recipe: Annotated[Path, typer.Option(help="Its limits tell what is cut.")] = RECIPE,
    data: Path = DATA,
    annotations: Path = ANNOTATIONS,
) -> None:
    """Write one role's prompts and targets as Parquet, a file a split, and describe them. Fails on a leak."""
    from training.model import open_tokenizer, open_tokens
    from training.recipe import read_recipe
    from training.statistics import describe as count
    from training.statistics import shown

    settings = read_recipe(recipe, **({"base": tokenizer} if tokenizer else {}))
    prompt_format = prompt_format or default_format(role_named(role), as_published=as_published)
    name = prompt_format if history else without_history(prompt_format)
    wording = Wording(role_named(role), name, as_published, controller, flat_ends)
    corpora = read_corpora(wording, data, annotations, sampling, seed, console.print)
    pieces = open_tokenizer(settings, (text for one in corpora["train"] for text in (one.prompt, one.target)))
    limits = {"max_input_tokens": settings.max_input_tokens, "max_new_tokens": settings.max_new_tokens}
    found = count(corpora, open_tokens(settings, pieces), **limits)
    about = {
        "role": role,
        "prompt_format": name,
        "as_published": as_published,
        "controller": controller,
        "flat_ends": flat_ends,
        "data_sha256": read_manifest(data)["sha256"],
        "sampling": sampling,
        "seed": seed,
        "tokenizer": settings.base or f"learnt, {pieces.get_vocab_size()} pieces",
        **limits,
    }
    folder = output or Path("build/datasets") / f"{role}-{name}"
    write_dataset(folder, corpora, about | asdict(found))
    console.print(*shown(found), sep="\n")
    console.print(f"{folder}: {', '.join(f'{split}.parquet' for split in corpora)}, {MANIFEST}")


@app.command()
def finetune(
    role: str,
    run: Annotated[Path | None, typer.Option(help="Run folder; default build/runs/ROLE. Resumes if it exists.")] = None,
    prompt_format: Annotated[str, typer.Option("--format", help=FORMAT_HELP)] = "",
    recipe: Annotated[Path, typer.Option(help="JSON file with fields of training.recipe.Recipe.")] = RECIPE,
    base: Annotated[str, typer.Option(help="Start from this folder or hub name; empty: as the recipe says.")] = "",
    steps: Annotated[int | None, typer.Option(help="Override the recipe's steps and epochs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Override the recipe's seed.")] = None,
    save_minutes: Annotated[float, typer.Option(help="Save the state so often, besides at evaluations.")] = 5.0,
    wandb: Annotated[str, typer.Option(help="Report to this project of W&B too.")] = "",
    sampling: SamplingOption = "all",
    as_published: AsPublishedOption = False,
    controller: ControllerOption = "on-end",
    flat_ends: FlatEndsOption = False,
    data: Path = DATA,
    annotations: Path = ANNOTATIONS,
) -> None:
    """Fine-tune one role's model; selected on dev, resumable. Many GPUs: accelerate launch -m training finetune …"""
    from training.metrics import require_wandb
    from training.origin import Origin, claim, read_origin, require_same_purpose, sha256_of_base
    from training.recipe import read_recipe, require_fitting_data

    prompt_format = prompt_format or default_format(role_named(role), as_published=as_published)
    folder = run or RUNS / role
    changed = {"base": base or None, "steps": steps, "epochs": None if steps is None else 0, "seed": seed}
    overrides = {name: value for name, value in changed.items() if value is not None}
    settings = read_recipe(recipe, **overrides)
    require_same_purpose(folder, role_named(role), prompt_format)
    if wandb:
        require_wandb()
    wording = Wording(role_named(role), prompt_format, as_published, controller, flat_ends)
    corpora = read_corpora(wording, data, annotations, sampling, note=console.print)
    require_fitting_data(settings, prompt_format, corpora["train"], corpora["dev"])

    from training.finetune import Run

    trainer = Run(folder, settings, corpora["train"], corpora["dev"], save_minutes=save_minutes, wandb=wandb)
    bar = progress_bar(console)
    bar.disable = not trainer.main
    data_sha256, origin = read_manifest(data)["sha256"], read_origin(folder)
    if origin and origin.data_sha256 != data_sha256:
        trainer.forget_best()
    if trainer.main:
        options = "".join(f" --{name} {value}" for name, value in overrides.items() if name != "epochs")
        options += f" --sampling {sampling}" if sampling != "all" else ""
        options += wording.options
        claim(
            folder,
            Origin(
                role=role_named(role),
                prompt_format=prompt_format,
                data_sha256=data_sha256,
                base_sha256=origin.base_sha256 if origin else sha256_of_base(settings.base),
                command=f"python -m training finetune {role} --format {prompt_format} --recipe {recipe}{options}",
            ),
        )
        sizes = f"{len(corpora['train'])} examples, {len(corpora['dev'])} for dev"
        trained = f"{trainer.trained_parameters / 1e6:.2f} of {trainer.parameters / 1e6:.2f} M parameters"
        console.print(f"{role}: {sizes}, {trained}" + (f"; resumed at step {trainer.step}" if trainer.step else ""))
    with bar:
        task = bar.add_task(role, total=trainer.steps, completed=trainer.step)
        try:
            for metrics in trainer.train():
                named = ("weighed", "loss", "examples_per_second", "dev_loss", "dev_exact_match")
                shown = " ".join(f"{name} {metrics[name]:.3f}" for name in named if name in metrics)
                bar.update(task, completed=trainer.step, description=f"{role} {shown}")
                if "dev_loss" in metrics:
                    bar.console.print(f"step {trainer.step}: {shown}")
        except KeyboardInterrupt as interrupt:
            console.print(f"Stopped at step {trainer.step}; the same command goes on from the last saved state.")
            raise typer.Exit(130) from interrupt
    if trainer.main and trainer.step < trainer.steps:
        console.print(f"Ended at step {trainer.step}: dev was no better for {settings.patience} evaluations.")


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
    from training.origin import read_origin, require_same_purpose

    source = run or RUNS / role
    require_same_purpose(source, role_named(role), prompt_format)
    origin = read_origin(source)
    manifest = read_manifest(data)
    card = export_run(
        source,
        output or CHECKPOINTS / role,
        role=role_named(role),
        prompt_format=prompt_format,
        command=origin.command if origin else f"python -m training finetune {role} --recipe {source}/recipe.json",
        data_sha256=origin.data_sha256 if origin else manifest["sha256"],
        base_sha256=origin.base_sha256 if origin else "",
    )
    console.print(f"{card.name}: {card.parameters / 1e6:.2f} M parameters, dev {card.training.dev}")


@app.command()
def convert(
    folder: Annotated[Path, typer.Argument(help="A model: config.json, model.safetensors, tokenizer.json.")],
    output: Annotated[Path, typer.Argument(help="The checkpoint's folder.")],
    role: Annotated[str | None, typer.Option(help="What it was trained for; default: as its card says.")] = None,
    prompt_format: Annotated[str | None, typer.Option("--format", help="Of its prompts; default: its card's.")] = None,
    max_input_tokens: Annotated[int, typer.Option(help="Longer prompts are cut; for a model without a card.")] = 1024,
    max_new_tokens: Annotated[int, typer.Option(help="Of an answer; for a model without a card.")] = 30,
    quantization: Annotated[str, typer.Option(help="Of the weights for CTranslate2: int8, float32, …")] = "int8",
) -> None:
    """Make a checkpoint that the services load out of any fine-tuned T5 or causal model, converted for CTranslate2."""
    from training.export import convert as convert_folder

    card = convert_folder(
        folder,
        output,
        role=role_named(role) if role else None,
        prompt_format=prompt_format,
        max_input_tokens=max_input_tokens,
        max_new_tokens=max_new_tokens,
        quantization=quantization,
    )
    console.print(f"{output}: {card.role}, {card.architecture}, {card.parameters / 1e6:.2f} M parameters")


app.command()(score)


def main() -> None:
    """Run a command; an error that a user can mend is one message and exit code 2."""
    make_streams_safe()
    try:
        app(prog_name=f"{os.environ[COMMAND]} training" if os.environ.get(COMMAND) else None)
    except WaymarkError as error:
        console.print(Text(as_called(str(error)), style="bold red"), soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
