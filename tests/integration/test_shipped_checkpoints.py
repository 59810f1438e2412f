"""What ships: whole, small, and as good on dev as its card says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from tests.oracle import TABLE, rule_annotations, trajectories
from training.datasets import examples
from waymark.contracts import Role
from waymark.inference.checkpoint import load
from waymark.inference.load import open_generator
from waymark.worlds.registry import get_format

SHIPPED = Path(__file__).parents[2] / "checkpoints"
FOLDERS = sorted(card.parent for card in SHIPPED.rglob("card.json"))
MEGABYTE = 1_000_000


def test_all_that_ships_fits_its_budget() -> None:
    sizes = [path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(sizes) <= 40 * MEGABYTE
    assert max(sizes) <= 16 * MEGABYTE


@pytest.mark.parametrize("folder", FOLDERS, ids=[str(one.relative_to(SHIPPED)) for one in FOLDERS])
def test_a_shipped_checkpoint_keeps_what_its_card_promises(folder: Path) -> None:
    found = load(folder, cast(Role, folder.name))
    card = found.card
    manifest = json.loads(TABLE.with_suffix(".manifest.json").read_text())
    assert card.training.data_sha256 in (manifest["sha256"], *manifest["earlier"])
    dev = [trajectory for trajectory in trajectories() if trajectory.split == "dev"]
    corpus = examples(dev, rule_annotations(dev), card.role, get_format(card.prompt_format))
    sample = corpus[:: len(corpus) // 150]
    answers = open_generator("ctranslate2", found, device="cpu", dtype="auto").generate([one.prompt for one in sample])
    hits = sum(answer.candidates[0].text == one.target for answer, one in zip(answers, sample, strict=True))
    # 150 of the dev decisions, in int8: three standard errors of the share are 0.12.
    assert hits / len(sample) >= card.training.dev["exact_match"] - 0.12
