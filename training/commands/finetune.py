"""`finetune`: train one role's model, report the progress, and draw its curves."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from training.commands.common_options import (
    AnnotationsOption,
    AsPublishedOption,
    ControllerOption,
    DataOption,
    FlatEndsOption,
    FormatOfRoleOption,
    RecipeOption,
    RequireAllOption,
    RoleArgument,
    SamplingOption,
    WorldOption,
)
from training.commands.console import console, progress_bar, say
from training.load_examples import Wording, read_corpora
from training.recipe_layers import parse_changes
from training.trajectories import read_manifest
from training.user_files import require_writable_folder, sha256_of
from training.worlds.registry import training_world
from waymark.commands.options import finite
from waymark.worlds.registry import DEFAULT_WORLD

if TYPE_CHECKING:
    from training.finetune import Run
    from training.interruption import Interruption
    from training.run_origin import Origin

_VERBS_SHOWN = 6


def _help_recipe(asked: bool) -> None:
    if asked:
        from training.recipe_reference import recipe_help

        typer.echo(recipe_help())
        raise typer.Exit


def finetune(
    context: typer.Context,
    role: RoleArgument,
    world: WorldOption = DEFAULT_WORLD,
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder. Resumes if it exists. Default: the world's; for ScienceWorld build/runs/ROLE."),
    ] = None,
    prompt_format: FormatOfRoleOption = None,
    recipe: RecipeOption = None,
    base: Annotated[str, typer.Option(help="Model folder or hub name to start from. Default: the recipe's.")] = "",
    size: Annotated[
        str, typer.Option(help="Size, for a recipe with sizes: flan-t5.json has small, base, large and xl.")
    ] = "",
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Override a field of the recipe: FIELD=VALUE. May be repeated.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Number of updates. Replaces the recipe's steps and epochs.", min=1)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed. Replaces the recipe's.", min=0)] = None,
    save_minutes: Annotated[
        float, typer.Option(callback=finite, help="Minutes between saves of the state. Evaluations save it too.", min=0)
    ] = 5.0,
    wandb: Annotated[str, typer.Option(help="Weights & Biases project to report to.")] = "",
    plot: Annotated[Path | None, typer.Option(help="Draw loss and dev scores to this .png or .svg file.")] = None,
    sampling: SamplingOption = "all",
    as_published: AsPublishedOption = False,
    controller: ControllerOption = "on-end",
    flat_ends: FlatEndsOption = False,
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    require_all: RequireAllOption = False,
    leave_out: Annotated[
        int | None,
        typer.Option(help="Train without the things of this fold (0, 1 or 2), and select weights by its variations."),
    ] = None,
    failed_attempts: Annotated[
        float,
        typer.Option(help="Share of decisions to learn once more after a failed attempt, 0 to 1.", min=0, max=1),
    ] = 0.0,
    allow_truncation: Annotated[
        bool, typer.Option("--allow-truncation", help="Train even if over 5% of prompts or answers are cut.")
    ] = False,
    _: Annotated[
        bool, typer.Option("--help-recipe", is_eager=True, callback=_help_recipe, help="List the recipe's fields.")
    ] = False,
) -> None:
    """Fine-tune the model of one role.

    The weights with the best dev score are kept. Resumes where it was stopped.

    Several GPUs: accelerate launch -m training finetune ...
    """
    from training.base_models import require_base
    from training.recipe import read_recipe, require_fitting_data, require_same_recipe
    from training.run_metrics import require_wandb
    from training.run_origin import Origin, require_same_purpose, require_same_source, sha256_of_base

    trained = training_world(world)
    data, annotations, recipe = data or trained.data, annotations or trained.annotations, recipe or trained.recipe
    prompt_format = prompt_format or trained.default_format(role, as_published=as_published)
    wording = Wording(role, prompt_format, as_published, controller, flat_ends, world, failed_attempts)
    folder = run or trained.runs / role
    require_writable_folder(folder, "run")
    if leave_out is not None:
        trained.check_fold(leave_out)
    changed = {"base": base or None, "steps": steps, "epochs": None if steps is None else 0.0, "seed": seed}
    given = {name: value for name, value in changed.items() if value is not None}
    settings = read_recipe(recipe, role, size, **(parse_changes(changes or []) | given))
    require_same_purpose(folder, role, prompt_format, wording.options)
    require_same_recipe(settings, folder)
    if wandb:
        require_wandb()
    if plot:
        from waymark.loadtest.saturation_curve import check

        check(plot)
    require_base(settings)
    read = read_corpora(
        wording,
        data,
        annotations,
        sampling,
        require_all=require_all,
        note=say,
        bar=progress_bar(),
        leave_out=leave_out,
    )
    corpora = read.examples
    require_fitting_data(settings, prompt_format, corpora["train"], corpora["dev"])
    origin = Origin(
        role=role,
        prompt_format=prompt_format,
        data_sha256=read_manifest(data)["sha256"],
        annotations_sha256=sha256_of(annotations),
        sampling=sampling,
        base_sha256=sha256_of_base(settings.base),
        wording=wording.options,
        left_out="" if leave_out is None else str(leave_out),
        command=command_of(context, prompt_format, recipe),
    )
    require_same_source(folder, origin)

    from training.finetune import Run
    from training.interruption import Interruption
    from training.truncation import MAX_TRUNCATED

    # The handlers come first: a signal while the model is loaded ends the run before its first step.
    with Interruption(lambda name: say(f"{name}: stopping after this step; a second signal stops at once.")) as stop:
        trainer = Run(
            folder,
            settings,
            corpora["train"],
            corpora["dev"],
            save_minutes=save_minutes,
            wandb=wandb,
            max_truncated=1.0 if allow_truncation else MAX_TRUNCATED,
            interruption=stop,
        )
        _begin(trainer, origin, f"{len(corpora['train'])} examples, {len(corpora['dev'])} for dev")
        try:
            _follow(trainer, role)
        except KeyboardInterrupt as insisted:
            say(f"Stopped at once at step {trainer.step}; the same command resumes from the last saved state.")
            raise typer.Exit(stop.exit_code or 130) from insisted
        finally:
            if plot and trainer.main:
                from training.training_curves import draw

                draw(folder / "metrics.jsonl", plot, f"{role}, {folder}")
        _end(trainer, stop)
        trainer.close()
    if stop.signal is not None:
        raise typer.Exit(stop.exit_code)


def command_of(context: typer.Context, prompt_format: str, recipe: Path) -> str:
    """The command of this run, with every option whose value is not the default, so that it can be repeated.

    It always names format and recipe; without such an option, those of the role and of the world.
    """
    values = context.params | {"prompt_format": prompt_format, "recipe": recipe}
    words = ["python", "-m", "training", str(context.command.name)]
    for parameter in context.command.params:
        value = values.get(str(parameter.name))
        options = [name for name in parameter.opts if name.startswith("--")]
        if not options:
            words.append(str(value))
        elif value is True and not parameter.default:
            words.append(options[0])
        elif value is False and parameter.default:
            words.append(parameter.secondary_opts[0])
        elif isinstance(value, list | tuple):
            words += [word for item in value for word in (options[0], str(item))]
        elif value is not None and (options[0] in ("--format", "--recipe") or str(value) != str(parameter.default)):
            words += [options[0], str(value)]
    return shlex.join(words)


def _begin(trainer: Run, origin: Origin, sizes: str) -> None:
    """Print what is about to be trained, and on which data. All processes call this together."""
    from training.run_origin import claim

    devices = trainer.devices
    if not trainer.main:
        return
    claim(trainer.folder, origin)
    count = f"{len(devices)} process{'es' if len(devices) > 1 else ''}"
    say(f"{count} on {', '.join(devices)}, computing in {trainer.dtype}")
    trained = f"{trainer.trained_parameters / 1e6:.2f} of {trainer.parameters / 1e6:.2f} M parameters"
    say(f"{origin.role}: {sizes}, {trained}" + (f"; resumed at step {trainer.step}" if trainer.step else ""))
    say(f"{trainer.truncation}")
    say(
        f"dev baseline: always answering {trainer.baseline.answer!r} has exact match {trainer.baseline.exact_match:.3f}"
    )


def _follow(trainer: Run, role: str) -> None:
    """Train, with a bar on a terminal and lines elsewhere."""
    from training.finetune import is_reported

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
        disable=not trainer.main,
    )
    with bar:
        task = bar.add_task(role, total=trainer.steps, completed=trainer.step, figures="")
        for metrics in trainer.train():
            figures = _in_words(metrics)
            if "dev_loss" in metrics:
                if trainer.main:
                    say(f"step {trainer.step}: {figures}")
                    say(f"  by verb: {_by_verb(trainer, metrics)}")
                continue
            bar.update(task, completed=trainer.step, figures=figures)
            if trainer.main and not console.is_terminal and "loss" in metrics and is_reported(trainer.step):
                say(f"step {trainer.step}/{trainer.steps}: {figures}")


def _in_words(metrics: dict[str, float]) -> str:
    if "weighed" in metrics:
        return f"weighing examples {metrics['weighed']:.0%}"
    if "dev_loss" in metrics:
        return (
            f"dev loss {metrics['dev_loss']:.3f}, exact match {metrics['dev_exact_match']:.3f} "
            f"(baseline {metrics['dev_majority']:.3f})"
        )
    if "loss" not in metrics:
        return ""
    left = round(metrics["seconds_left"])
    return (
        f"loss {metrics['loss']:.3f} {metrics['examples_per_second']:,.0f} ex/s "
        f"{metrics['tokens_per_second']:,.0f} tok/s "
        f"{metrics['memory_mb'] / 1000:.1f} GB {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
    )


def _by_verb(trainer: Run, metrics: dict[str, float]) -> str:
    counts = trainer.baseline.verbs
    shown = list(counts)[:_VERBS_SHOWN]
    words = [f"{verb} {metrics[f'dev_exact_match/{verb}']:.2f} of {counts[verb]}" for verb in shown]
    rest = len(counts) - len(shown)
    return ", ".join(words) + (f", {rest} more in metrics.jsonl" if rest else "")


def _end(trainer: Run, stop: Interruption) -> None:
    if not trainer.main:
        return
    if stop.signal is not None:
        say(f"Stopped at step {trainer.step}; its state is saved, and the same command resumes from it.")
    elif trainer.step < trainer.steps:
        say(f"Ended at step {trainer.step}: dev was no better for {trainer.recipe.patience} evaluations.")
    else:
        best = trainer.best
        say(f"Kept in {trainer.folder / 'best'}: exact match {best.exact_match:.3f}, dev loss {best.loss:.3f}.")
