"""`reproduce` and its parts: `base` makes a small base model, `sizes` computes the memory and time of training."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from training.commands.common_options import AnnotationsOption, DataOption
from training.commands.console import progress_bar, say
from training.commands.endpoint_options import (
    CompletionPriceOption,
    ConcurrencyOption,
    ModelOption,
    PromptPriceOption,
    TimeoutOption,
    UrlOption,
)
from training.reproduce.plan import ROLES, AnnotatorName, PublishedPaths, Settings
from training.worlds.registry import training_world
from waymark.commands.options import finite
from waymark.errors import InvalidInput
from waymark.operating_system.cpu_cores import available_cores
from waymark.worlds.registry import DEFAULT_WORLD

FLAN_T5: Final = Path("training/recipes/flan-t5.json")


def reproduce(
    model: Annotated[str, typer.Option(help="T5 to fine-tune: hub name or folder. Default: that of the recipe.")] = "",
    size: Annotated[
        str,
        typer.Option(
            help="Size of the model: small, base, large or xl. Default: large, if the recipe has sizes.",
            show_default=False,
        ),
    ] = "",
    recipe: Annotated[Path, typer.Option(help="Recipe for all roles.")] = FLAN_T5,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Override a field of the recipe: FIELD=VALUE. May be repeated.")
    ] = None,
    annotator: Annotated[AnnotatorName, typer.Option(help="Source of the sub-goals: rules or a large model.")] = "llm",
    paths: Annotated[
        PublishedPaths,
        typer.Option(help="Paths to train on: the simulator's own, as published (gold), or the scripted expert's."),
    ] = "gold",
    budget: Annotated[
        float | None,
        typer.Option(callback=finite, help="Upper limit of the cost of annotation. Needs both prices.", min=0),
    ] = None,
    url: UrlOption = "",
    llm_model: ModelOption = "",
    parameters: Annotated[
        str, typer.Option(help="Additional fields of each request, as a JSON object.")
    ] = '{"temperature": 0}',
    concurrency: ConcurrencyOption = 4,
    timeout: TimeoutOption = 300.0,
    prompt_price: PromptPriceOption = None,
    completion_price: CompletionPriceOption = None,
    output: Annotated[Path, typer.Option(help="Folder for all files of the run.")] = Path("build/reproduce"),
    launch: Annotated[
        str, typer.Option(help="Launcher for several GPUs, e.g. 'accelerate launch --config_file F'.")
    ] = "",
    limit: Annotated[
        int | None, typer.Option(help="Largest number of variations of each task and split.", min=1)
    ] = None,
    tasks: Annotated[str, typer.Option(help="Tasks, e.g. 4-1,4-2. Default: all 30.")] = "",
    protocol: Annotated[str, typer.Option(help="Protocol of the evaluation: seed, dev, quick, full.")] = "seed",
    variations: Annotated[str, typer.Option(help="Variations to play, e.g. 0,1.")] = "",
    beams: Annotated[int | None, typer.Option(help="Beam width. Default: 5, as published.", min=1)] = None,
    processes: Annotated[
        int | None, typer.Option(help="Simulators that record at once. Default: one for each core.", min=1)
    ] = None,
    slots: Annotated[
        int | None, typer.Option(help="Episodes played at once. Default: 3 for every 2 cores.", min=1)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking for confirmation.")] = False,
) -> None:
    """Reproduce the published method.

    Record, annotate, train four models, play, show the table. Resumes where it was stopped.
    """
    from training.interruption import received
    from training.llm.budget import Budget
    from training.llm.command import endpoint_from, prices_from
    from training.llm.stored_answers import Usage
    from training.recipe_layers import has_sizes
    from training.reproduce.checks import check_bases, check_endpoint, check_launcher, check_room, train_flops
    from training.reproduce.plan import make_plan
    from training.reproduce.report import MANIFEST, write_report
    from training.reproduce.stages import finished, launcher, run_all
    from training.resumable_stages import Progress, StageFailed
    from training.user_files import require_writable_folder
    from waymark.clients.chat import Limits

    prices = prices_from(prompt_price, completion_price)
    settings = Settings(
        folder=output,
        recipe=recipe,
        size=size or ("large" if has_sizes(recipe) else ""),
        changes=tuple(changes or ()),
        base=model,
        paths=paths,
        annotator=annotator,
        limit=limit,
        tasks=tasks,
        protocol=protocol,
        variations=variations,
        beams=beams,
        processes=processes or available_cores(),
        slots=slots,
        launch=launch,
        llm=_llm_options(parameters, concurrency, timeout, prompt_price, completion_price, budget, output),
        prices=prices,
        budget=budget,
    )
    require_writable_folder(output, "output")
    progress = Progress(output)  # reports a damaged progress file before any work begins
    if launch:
        check_launcher(launcher(launch))
    shapes = check_bases(settings)
    done = finished(settings, progress)
    plan = make_plan(settings, shapes, train_flops(), _episodes(settings), done)
    check_room(plan, output, is_sharded=bool(launch))
    os.environ |= {"WAYMARK_LLM_URL": url, "WAYMARK_LLM_MODEL": llm_model}  # the stage reads them
    to_annotate = "annotate" not in done
    if annotator == "llm" and to_annotate:
        assert plan.calls is not None
        Budget(budget, prices, Usage(), option="--budget").require(plan.calls)
        endpoint = endpoint_from(url, llm_model, os.environ.get("WAYMARK_LLM_KEY", ""), parameters)
        seconds = check_endpoint(endpoint, Limits(timeout=timeout))
        hours = plan.calls.calls * seconds / concurrency / 3600
        say(f"endpoint   answered a first question in {seconds:.1f} s: about {hours:.1f} h for all paths")
    for line in plan.lines():
        say(line)
    if to_annotate and settings.annotations.exists():
        say(f"           {settings.annotations} will be written anew: stage annotate is not done with these options")
    if not yes and not _is_confirmed():
        raise typer.Exit(1)
    try:
        progress = run_all(settings, say)
    except StageFailed as error:
        say(str(error))
        raise typer.Exit(error.code) from error
    except BaseException:
        if received():
            say("Interrupted. Run the same command again to continue.")
        raise
    typer.echo(write_report(settings, progress))
    say(f"Everything is in {output}; {output / MANIFEST} lists it with hashes.")


def _is_confirmed() -> bool:
    """Ask whether to begin. Raises InvalidInput where nobody can answer."""
    from training.interruption import received

    try:
        return typer.confirm("Begin?", err=True)
    except typer.Abort:
        if received() or sys.stdin.isatty():
            raise
        say("")
        raise InvalidInput(
            "The question needs an answer, and standard input has none.",
            remedy="Add --yes to start without it.",
            field="yes",
        ) from None


def base(
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    recipe: Annotated[Path, typer.Option(help="Recipe that gives the shape.")] = Path(
        "training/recipes/published-small.json"
    ),
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Override a field of the recipe: FIELD=VALUE.")
    ] = None,
    role: Annotated[str, typer.Option(help="Role of the recipe that gives the shape.")] = "",
    prompt_format: Annotated[
        str, typer.Option("--format", help="Prompt format of the texts from which the tokenizer is made.")
    ] = "seed",
    data: DataOption = None,
    annotations: AnnotationsOption = None,
) -> None:
    """Make a T5 with random weights, to use as a pretrained T5.

    Its tokenizer has whole phrases as tokens.
    """
    from training.load_examples import read_corpora
    from training.recipe import read_recipe
    from training.recipe_layers import parse_changes
    from training.reproduce.random_base import make_base, sample_texts, wordings

    settings = read_recipe(recipe, role, **({"base": ""} | parse_changes(changes or [])))
    published = training_world(DEFAULT_WORLD)
    data, annotations = data or published.data, annotations or published.annotations
    corpora = [
        read_corpora(
            wording,
            data,
            annotations,
            "all",
            require_all=False,
            note=lambda _: None,
            bar=progress_bar(),
        ).examples["train"]
        for wording in wordings(prompt_format)
    ]
    parameters, tokens = make_base(output, settings, sample_texts(corpora))
    say(f"{output}: {parameters / 1e6:.2f} M parameters, {tokens:,} tokens")


def sizes(
    recipe: Annotated[Path, typer.Option(help="Recipe with sizes.")] = FLAN_T5,
    tflops: Annotated[
        float, typer.Option(callback=finite, help="Peak rate in bf16, in TFLOP/s. An A100 has 312.", min=0.001)
    ] = 312,
    utilization: Annotated[
        float, typer.Option(callback=finite, help="Share of the peak rate that training reaches.", min=0.001, max=1)
    ] = 0.35,
) -> None:
    """Compute the memory, time and disk that training takes.

    The figures are for the published models, at each size.
    """
    from training.recipe import read_recipe
    from training.reproduce.t5_sizes import FLAN_T5 as SHAPES
    from training.reproduce.t5_sizes import PUBLISHED_EXAMPLES

    say(f"Computed for {tflops:g} TFLOP/s at {utilization:.0%}, float32 weights and bf16 products; not measured.")
    headings = ["size", "parameters", "batch", "memory", *(f"{role}, h" for role in ROLES), "all, h", "disk"]
    typer.echo(f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
    for name, shape in SHAPES.items():
        of_role = {role: read_recipe(recipe, role, name) for role in ROLES}
        hours = [shape.hours(of_role[role], PUBLISHED_EXAMPLES[role], tflops * 1e12 * utilization) for role in ROLES]
        settings = of_role["executor"]
        batch = f"{settings.batch} × {settings.accumulate}" + (", recomputed" if settings.recompute else "")
        cells = [name, f"{shape.parameters / 1e6:,.0f} M", batch, f"{shape.gigabytes(settings):.0f} GB"]
        cells += [f"{hour:.1f}" for hour in (*hours, sum(hours))]
        typer.echo(f"| {' | '.join(cells)} | {4 * shape.disk_gigabytes():.0f} GB |")


def _llm_options(
    parameters: str,
    concurrency: int,
    timeout: float,
    prompt_price: float | None,
    completion_price: float | None,
    budget: float | None,
    output: Path,
) -> tuple[str, ...]:
    options = ["--parameters", parameters, "--concurrency", str(concurrency), "--timeout", str(timeout)]
    options += ["--cache", str(output / "llm")]
    if prompt_price is not None:
        options += ["--prompt-price", str(prompt_price), "--completion-price", str(completion_price)]
    return tuple(options + (["--max-cost", str(budget)] if budget is not None else []))


def _episodes(settings: Settings) -> int:
    """Number of episodes that one agent plays. Raises InvalidInput for unknown tasks and variations."""
    from pydantic import ValidationError

    from waymark.contracts import EvaluationRequest
    from waymark.evaluation.requested_episodes import episodes

    try:
        request = EvaluationRequest.model_validate(
            {
                "protocol": settings.protocol,
                "tasks": settings.tasks.split(",") if settings.tasks else None,
                "variations": settings.variations.split(",") if settings.variations else None,
            },
            strict=False,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(
            f"{first['loc'][0]}: {first['msg']}.", remedy="See ./run evaluate --help.", field=str(first["loc"][0])
        ) from error
    return len(episodes("", request))
