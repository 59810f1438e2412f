"""Offline scores: how often a checkpoint decides exactly as the oracle did, on variations it was not trained on.

Checkpoints answer through the engines that serve them, greedily; an answer is right when its text is the dataset's
target. Every decision is judged alone, from a state on the oracle path. An executor is judged twice:

    oracle       its sub-goals are the oracle's
    predicted    its sub-goals are what a controller answers where the oracle begins one; the path is the oracle's

A predicted sub-goal may be a good one that the oracle did not choose: the actions towards it count as wrong all the
same. Only episodes tell what the two do together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast, get_args

from rich import box
from rich.table import Table

from training.annotations import Annotation
from training.datasets import Example, examples, on_detour
from training.exact_matches import Matches, Share, matches
from training.export import export
from training.run_origin import read_origin
from training.trajectories import PathKey, Trajectory
from training.worlds.registry import in_order
from waymark.contracts import Role
from waymark.errors import InvalidInput, UnparsableAction
from waymark.inference import Generator
from waymark.inference.checkpoint import CARD, load
from waymark.inference.open_engine import open_generator
from waymark.worlds.base import PromptFormat, decision_of
from waymark.worlds.registry import get_format

BATCH = 32

Annotations = dict[PathKey, Annotation]
SubgoalSource = Literal["oracle", "predicted"]


@dataclass(frozen=True)
class Contestant:
    """A checkpoint that is to be scored, ready to answer."""

    name: str
    """Its folder, as it was named."""
    role: Role
    format: PromptFormat
    generator: Generator
    card: dict[str, float]
    """What its card says of dev: of a sample of the decisions, in the dtype that it was trained in."""


@dataclass(frozen=True)
class Score:
    """One checkpoint's offline score."""

    checkpoint: str
    role: Role
    subgoals: SubgoalSource | None
    """Whose sub-goals an executor was given; None for other roles."""
    controller: str | None
    """The checkpoint that predicted them."""
    engine: str
    dtype: str
    matches: Matches
    card: dict[str, float]


@contextmanager
def opened(
    sources: Sequence[Path], engine: str, *, role: Role | None = None, prompt_format: str = "compact"
) -> Iterator[list[Contestant]]:
    """Checkpoint folders, verified and loaded; of run folders the best weights so far, exported for the time being.

    `role` and `prompt_format` are for runs that did not record theirs; the role may also begin their folder's name
    (`executor-long`). Raises CheckpointError, EngineUnavailable, InvalidInput.
    """
    contestants: list[Contestant] = []
    with TemporaryDirectory(prefix="waymark-score-") as scratch:
        try:
            for source in sources:
                folder = source
                if (source / "best").is_dir() and not (source / CARD).exists():
                    folder = Path(scratch) / str(len(contestants)) / source.name
                    _export(source, folder, role, prompt_format)
                checkpoint = load(folder)
                writer, generator = get_format(checkpoint.card.prompt_format), open_generator(engine, checkpoint)
                contestants.append(
                    Contestant(str(source), checkpoint.card.role, writer, generator, checkpoint.card.training.dev)
                )
            yield contestants
        finally:
            for contestant in contestants:
                contestant.generator.close()


def score(
    contestants: Sequence[Contestant],
    trajectories: Sequence[Trajectory],
    annotations: Annotations,
    report: Callable[[str, int, int], None],
) -> list[Score]:
    """Every contestant's score on these paths; an executor's with the oracle's sub-goals, and with those of the
    controllers in the folder that holds it, or of all if there are none.

    `report` gets what is being answered, how many of its prompts are answered, and how many there are.
    """
    scores: list[Score] = []
    predicted: dict[str, Annotations] = {}
    # Controllers first: executors are given what they answer.
    for contestant in sorted(contestants, key=lambda contestant: contestant.role != "controller"):
        corpus, answers = _answers_of(contestant, trajectories, annotations, report, contestant.name)
        scores.append(_score(contestant, corpus, answers, "oracle" if contestant.role == "executor" else None))
        if contestant.role == "controller":
            predicted[contestant.name] = _as_named(contestant.format, trajectories, annotations, answers)
        elif contestant.role == "executor":
            beside = [name for name in predicted if Path(name).parent == Path(contestant.name).parent]
            for controller in beside or predicted:
                named = predicted[controller]
                corpus, answers = _answers_of(
                    contestant, trajectories, named, report, f"{contestant.name} with {controller}"
                )
                scores.append(_score(contestant, corpus, answers, "predicted", controller))
    return scores


def table(scores: Sequence[Score]) -> Table:
    """Scores side by side, a row a task type, in percent, with intervals."""
    shown = Table(box=box.SIMPLE, caption="exact match in percent (95% interval, variations resampled)")
    shown.add_column("task")
    for scored in scores:
        notes = {None: "", "oracle": "with the oracle", "predicted": f"with {_called(scored.controller or '')}"}
        shown.add_column(f"{_called(scored.checkpoint)}\n{notes[scored.subgoals]}", justify="right")
    for task in in_order(chain.from_iterable(scored.matches.tasks for scored in scores)):
        cells = [_cell(scored.matches.tasks.get(task.id)) for scored in scores]
        if any(cells):
            shown.add_row(task.id, *cells)
    shown.add_section()
    shown.add_row("task mean", *(_cell(scored.matches.task_mean) for scored in scores))
    shown.add_row("overall", *(_cell(scored.matches.overall) for scored in scores))
    shown.add_row("on its card", *(_percent(scored.card.get("exact_match")) for scored in scores))
    shown.add_row("decisions", *(f"{scored.matches.overall.decisions:,}" for scored in scores))
    return shown


def _called(folder: str) -> str:
    """What a column says of a checkpoint: its folder's name, and that of the one above unless it is `checkpoints`."""
    above, name = Path(folder).parent.name, Path(folder).name
    return f"{above}/{name}" if above not in ("", "checkpoints") else name


def _export(run: Path, folder: Path, role: Role | None, prompt_format: str) -> None:
    origin = read_origin(run)
    role, prompt_format = (origin.role, origin.prompt_format) if origin else (role or _role_of(run), prompt_format)
    folder.parent.mkdir(parents=True)
    export(run, folder, role=role, prompt_format=prompt_format, command="", data_sha256="")


def _role_of(run: Path) -> Role:
    name = run.resolve().name.partition("-")[0]
    if name not in get_args(Role):
        raise InvalidInput(f"The name of the run {run} does not say its role.", remedy="Give --role.", field="role")
    return cast(Role, name)


def _answers_of(
    contestant: Contestant,
    trajectories: Sequence[Trajectory],
    annotations: Annotations,
    report: Callable[[str, int, int], None],
    title: str,
) -> tuple[list[Example], list[str]]:
    """The contestant's dataset of these paths and its answers to it."""
    corpus = examples(trajectories, annotations, contestant.role, contestant.format)
    answers = [""] * len(corpus)
    # Prompts of like length share a batch, so that little of it is padding.
    order = sorted(range(len(corpus)), key=lambda place: len(corpus[place].prompt))
    report(title, 0, len(corpus))
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        for place, answer in zip(
            places, contestant.generator.generate([corpus[place].prompt for place in places]), strict=True
        ):
            answers[place] = answer.candidates[0].text
        report(title, start + len(places), len(corpus))
    return corpus, answers


def _as_named(
    prompt_format: PromptFormat, trajectories: Sequence[Trajectory], annotations: Annotations, answers: Sequence[str]
) -> Annotations:
    """The same segments under the sub-goals that a controller answered, in the order in which it was asked."""
    subgoals = iter([_subgoal(prompt_format, answer) for answer in answers])
    named: Annotations = {}
    for trajectory in trajectories:
        annotation = annotations[trajectory.key]
        segments = [
            segment if on_detour(trajectory, segment) else replace(segment, subgoal=next(subgoals))
            for segment in annotation.segments
        ]
        named[trajectory.key] = replace(annotation, annotator="controller", segments=segments)
    return named


def _subgoal(prompt_format: PromptFormat, answer: str) -> str:
    """The sub-goal that an answer stands for; an answer that stands for none is given as it is, to be got wrong."""
    try:
        return prompt_format.parse("controller", answer) or answer
    except UnparsableAction:
        return answer


def _score(
    contestant: Contestant,
    corpus: Sequence[Example],
    answers: Sequence[str],
    subgoals: SubgoalSource | None,
    controller: str | None = None,
) -> Score:
    right: dict[str, dict[int, list[bool]]] = {}
    for example, answer in zip(corpus, answers, strict=True):
        right.setdefault(example.task_id, {}).setdefault(example.variation, []).append(
            decision_of(answer) == decision_of(example.target)
        )
    return Score(
        checkpoint=contestant.name,
        role=contestant.role,
        subgoals=subgoals,
        controller=controller,
        engine=contestant.generator.engine,
        dtype=contestant.generator.dtype,
        matches=matches(right),
        card=contestant.card,
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.1f}"


def _cell(share: Share | None) -> str:
    if share is None or share.ci95 is None:
        return _percent(share.exact_match if share else None)
    low, high = share.ci95
    return f"{_percent(share.exact_match)} ({low * 100:.0f}–{high * 100:.0f})"
