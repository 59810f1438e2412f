"""What a person sees while an evaluation runs: a live bar on a terminal, a line an episode elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from waymark.contracts import CheckpointMismatch, EpisodeResult
from waymark.worlds.registry import DEFAULT_WORLD, get_world


class LiveProgress:
    """Shows episodes as they finish. Writes to the console that it is given; a context."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[scores]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._world = get_world(DEFAULT_WORLD)
        self._task = self._bar.add_task("", total=None, scores="")
        self._scores: dict[str, list[int]] = {}
        self._episodes = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """What is going on before the first episode, or while none can be played."""
        self._bar.update(self._task, description=text)
        if not self._console.is_terminal:
            self._console.print(text, highlight=False, soft_wrap=True)

    def begin(self, episodes: int) -> None:
        """Now there are this many episodes to count."""
        self._episodes = episodes
        self._bar.update(self._task, description="playing", total=episodes)

    def waiting(self, mismatch: CheckpointMismatch | None) -> None:
        """A worker waits for the right checkpoint; None: no longer."""
        self.say("playing" if mismatch is None else f"waiting, the {mismatch} (worker {mismatch.worker})")

    def finished(self, result: EpisodeResult, agent: str = "") -> None:
        """One more episode is over; `agent` is named where several play."""
        scores = self._scores.setdefault(agent, [])
        scores.append(result.score)
        done = sum(map(len, self._scores.values()))
        task = self._world.find_task(result.task)
        outcome = f"error: {result.error.kind}" if result.error else f"score {result.score}"
        who = f"{agent}: " if agent else ""
        again = f", repeat {result.repeat}" if result.repeat else ""
        last = f"{who}{task.id} {task.name}, variation {result.variation}{again}: {outcome}"
        mean = sum(scores) / len(scores)
        self._bar.update(self._task, completed=done, scores=f"mean {mean:.1f} · {last}")
        if not self._console.is_terminal:
            line = f"{done}/{self._episodes} {last} (mean so far {mean:.1f})"
            self._console.print(line, highlight=False, soft_wrap=True)
