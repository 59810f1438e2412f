"""`annotate`, `subgoals`, `compare` and `rules`: split paths into sub-goals, and examine these."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console

from training.annotations import (
    annotate_by_rule,
    describe,
    first_of_each_task,
    read_annotations,
    training_subgoals,
    write_annotations,
)
from training.commands.common_options import AnnotationsOption, DataOption, RequireAllOption, WorldOption
from training.commands.console import console, progress_bar, say
from training.commands.endpoint_options import (
    CompletionPriceOption,
    ConcurrencyOption,
    ModelOption,
    PromptPriceOption,
    TimeoutOption,
    UrlOption,
)
from training.load_examples import read_annotated
from training.trajectories import read_table
from training.user_files import require_writable_file, require_writable_folder
from training.worlds.registry import training_world
from waymark.commands.options import finite
from waymark.worlds.registry import DEFAULT_WORLD

_LLM: Final = Path("build/llm")


def annotate(
    annotator: Annotated[Literal["rule", "llm"], typer.Option(help="By rule, or by a large model at --url.")] = "rule",
    world: WorldOption = DEFAULT_WORLD,
    data: DataOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Table to write. Default: the world's; for ScienceWorld data/annotations.parquet, llm: in build/llm"
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="With llm: largest number of paths of each task.", min=1)] = None,
    url: UrlOption = "",
    model: ModelOption = "",
    key: Annotated[
        str, typer.Option(envvar="WAYMARK_LLM_KEY", help="Key of the endpoint, sent as a bearer token.")
    ] = "",
    parameters: Annotated[
        str, typer.Option(help="Additional fields of each request, as a JSON object, e.g. max_tokens.")
    ] = '{"temperature": 0}',
    concurrency: ConcurrencyOption = 4,
    attempts: Annotated[int, typer.Option(help="Attempts for each request.", min=1)] = 6,
    timeout: TimeoutOption = 300.0,
    give_up_after: Annotated[
        int, typer.Option(help="Stop after this many failed requests in a row. 0: never.", min=0)
    ] = 5,
    prompt_price: PromptPriceOption = None,
    completion_price: CompletionPriceOption = None,
    max_cost: Annotated[
        float | None, typer.Option(callback=finite, help="Upper limit of the total cost. Needs both prices.", min=0)
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder that stores answers, so that a second run reuses them.")] = _LLM
    / "cache",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be asked, and call nothing.")] = False,
) -> None:
    """Split recorded paths into sub-goals.

    A rule or a large model does it. Resumes where it was stopped.
    """
    trained = training_world(world)
    llm_prompts = None if annotator == "rule" else trained.annotation_prompts()
    data = data or trained.data
    target = output or (trained.annotations if annotator == "rule" else _LLM / "annotations.parquet")
    require_writable_file(target, "output")
    if llm_prompts is None:
        paths = read_table(data, trained.world)
        with progress_bar() as bar:
            annotations = [annotate_by_rule(path) for path in bar.track(paths, description="paths")]
        write_annotations(annotations, target)
        console.print(describe(annotations))
        return
    from training.llm.command import annotate_with_llm, endpoint_from, prices_from, print_prompts
    from waymark.clients.chat import Limits

    require_writable_folder(cache, "cache")
    paths = read_table(data, trained.world)
    if limit is not None:
        paths = first_of_each_task(paths, limit)
    if dry_run:
        print_prompts(Console(markup=False, emoji=False), paths, llm_prompts)
        return
    failed = annotate_with_llm(
        paths,
        endpoint_from(url, model, key, parameters),
        Limits(concurrency, attempts, timeout),
        llm_prompts,
        give_up_after=give_up_after,
        cache=cache,
        output=target,
        prices=prices_from(prompt_price, completion_price),
        max_cost=max_cost,
        console=console,
        bar=progress_bar(),
    )
    raise typer.Exit(1 if failed else 0)


def subgoals(
    world: WorldOption = DEFAULT_WORLD,
    annotations: AnnotationsOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Text file to write, one sub-goal per line. Default: that of the package.")
    ] = None,
) -> None:
    """Write the list of training sub-goals.

    The agent `random` draws from it.
    """
    trained = training_world(world)
    output = output or trained.subgoals_file
    require_writable_file(output, "output")
    named = training_subgoals(read_annotations(annotations or trained.annotations).values())
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("".join(f"{subgoal}\n" for subgoal in named), encoding="utf-8")
    console.print(f"{output}: {len(named)} sub-goals")


def compare(
    left: Annotated[Path, typer.Argument(help="A table of annotations.")],
    right: Annotated[Path, typer.Argument(help="Another table, of the same paths.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Compare two annotations of the same paths.

    Shown by task: sub-goals per path, lengths, verbs, and agreement.
    """
    from training.compare_annotations import compare as compare_annotations

    report = compare_annotations(read_annotations(left), read_annotations(right))
    out = Console(markup=False, emoji=False)
    if as_json:
        out.print_json(data=report.facts())
        return
    out.print(report.table())
    for line in report.notes():
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def rules(
    world: WorldOption = DEFAULT_WORLD,
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every refusal as one JSON document.")] = False,
    require_all: RequireAllOption = False,
) -> None:
    """Count the sub-goals that each rule of play would refuse."""
    trained = training_world(world)
    replay = trained.audit_rules()
    data, annotations = data or trained.data, annotations or trained.annotations
    paths, named, _ = read_annotated(trained.world, data, annotations, require_all=require_all, note=say)
    with progress_bar() as bar:
        audit = replay(bar.track(paths, description="paths"), named)
    out = Console(markup=False, emoji=False)
    if as_json:
        out.print_json(data=asdict(audit))
        return
    out.print(audit.table())
    out.print(f"Of {audit.subgoals:,} sub-goals of annotated oracle paths.")
