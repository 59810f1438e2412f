"""What ships: whole, small, and as good on dev as its card says."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import cast

import pytest

from tests.oracle import TABLE, rule_annotations, trajectories
from training.datasets import examples
from training.trajectories import Trajectory
from training.worlds.base import RecordingRequest
from training.worlds.registry import training_world
from waymark.contracts import Role
from waymark.inference import Generation
from waymark.inference.checkpoint import load
from waymark.inference.open_engine import open_generator
from waymark.worlds.base import EnvironmentLimits
from waymark.worlds.registry import get_format, world_of_format

SHIPPED = Path(__file__).parents[2] / "checkpoints"
FOLDERS = sorted(card.parent for card in SHIPPED.rglob("card.json"))
MEGABYTE = 1_000_000
TRAINED_ON = {"textworld-express": ("twc", "coin", "arithmetic", "sorting", "simonsays", "peckingorder")}


def test_all_that_ships_fits_its_budget() -> None:
    sizes = [path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(sizes) <= 52 * MEGABYTE
    assert max(sizes) <= 16 * MEGABYTE


@pytest.mark.parametrize("folder", FOLDERS, ids=[str(folder.relative_to(SHIPPED)) for folder in FOLDERS])
def test_a_shipped_checkpoint_keeps_what_its_card_promises(folder: Path) -> None:
    checkpoint = load(folder, cast(Role, folder.name))
    card = checkpoint.card
    world = world_of_format(card.prompt_format)
    dev = recorded_dev() if world.name == "scienceworld" else recorded_now(world.name)
    if world.name == "scienceworld":
        tables = (TABLE, TABLE.with_name("flat-trajectories.parquet"))
        manifests = [json.loads(table.with_suffix(".manifest.json").read_text()) for table in tables]
        known = {sha256 for manifest in manifests for sha256 in (manifest["sha256"], *manifest["earlier"])}
        assert card.training.data_sha256 in known
    corpus = examples(dev, rule_annotations(dev), card.role, get_format(card.prompt_format))
    # A game asks in turn for different kinds of decision, so every second one of a short corpus would be of one kind.
    sample = corpus[:: len(corpus) // 150] if len(corpus) > 1_000 else corpus
    answers = open_generator("ctranslate2", checkpoint, device="cpu", dtype="auto").generate(
        [example.prompt for example in sample]
    )
    hits = sum(answer.candidates[0].text == example.target for answer, example in zip(answers, sample, strict=True))
    # At least 150 of the dev decisions, in int8: three standard errors of the share are 0.12.
    assert hits / len(sample) >= card.training.dev["exact_match"] - 0.12


def test_two_batches_at_a_time_have_the_answers_of_one() -> None:
    executor = load(SHIPPED / "executor", "executor")
    paths = recorded_dev()[:20]
    prompt_format = get_format(executor.card.prompt_format)
    prompts = [example.prompt for example in examples(paths, rule_annotations(paths), "executor", prompt_format)][:128]
    batches = [prompts[place : place + 32] for place in range(0, len(prompts), 32)]
    one, two = (open_generator("ctranslate2", executor, threads=threads) for threads in (1, 2))
    assert (one.parallel_batches, two.parallel_batches) == (1, 2)
    with ThreadPoolExecutor(2) as pool:
        beside_another = list(pool.map(two.generate, batches))
    assert texts(beside_another) == texts([one.generate(batch) for batch in batches])


def texts(batches: list[list[Generation]]) -> list[str]:
    return [generation.candidates[0].text for batch in batches for generation in batch]


def recorded_dev() -> list[Trajectory]:
    """The dev paths in the repository."""
    return [path for path in trajectories() if path.split == "dev"]


@cache
def recorded_now(name: str) -> list[Trajectory]:
    """A few dev paths of the tasks that the shipped models were trained on, for a world whose data do not ship."""
    trained = training_world(name)
    recording = trained.recording(RecordingRequest(takes=0))
    tasks = [trained.world.find_task(task) for task in TRAINED_ON[name]]
    environment = trained.world.open(EnvironmentLimits())
    wanted = recording.plan(["dev"], tasks)[: 6 * len(tasks)]
    paths = [path for variation in wanted for path in recording.record(environment, variation)]
    environment.close()
    return paths
