"""What a person is told while nothing can be played."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from waymark.cli.evaluation_progress import LiveProgress
from waymark.contracts import CheckpointMismatch


def test_waiting_for_a_checkpoint_names_both_hashes() -> None:
    out = StringIO()
    mismatch = CheckpointMismatch(
        what="executor", expected="ours (aaaa)", found="default (bbbb)", worker="host-1", since="2026-01-01"
    )
    with LiveProgress(Console(file=out)) as progress:
        progress.begin(3)
        progress.waiting(mismatch)
        progress.waiting(None)
    assert out.getvalue().splitlines() == [
        "waiting, the executor is default (bbbb); the evaluation was submitted for ours (aaaa) (worker host-1)",
        "playing",
    ]
