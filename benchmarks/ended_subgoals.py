"""How the turns of the agent `published` end a sub-goal: `END_SG()` is the best of its beams, or only one of them.

python -m benchmarks.ended_subgoals RUN_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from waymark.evaluation.run_folder import RunFolder


def main(run: Path) -> None:
    """Print the counts over all episodes of a run folder."""
    turns = ended = best = 0
    for result in RunFolder(run).results():
        for turn in result.trajectory or ():
            turns += 1
            if turn.action is None:
                ended += 1
                best += turn.actions[0][0] is None
    typer.echo(f"{turns:,} turns; {ended:,} ended a sub-goal, in {best:,} of these END_SG() was the best answer")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
