"""The progress of an evaluation: a live bar on a terminal, elsewhere a line for each episode.

The bar has two lines: how far the evaluation is, and below it the last episode or what is going on. Bar, count and mean
keep their room on narrow terminals; the spinner, the time left and the words beside them go first.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.console import Group as Lines
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from waymark.contracts import CheckpointMismatch, EpisodeResult
from waymark.worlds.registry import world_of_task

_REFRESHES: Final = 4
"""Refreshes of the bar a second."""
_WITH_TIME: Final = 60
_WITH_SPINNER: Final = 44
"""Columns of a terminal from which these have room."""
_LONGEST_BAR: Final = 40
_SHORTEST_BAR: Final = 6
_BESIDE: Final = 24
"""Columns that count and mean take beside the bar: `1200/1819 mean 100.0` and the blanks between."""


class LiveProgress:
    """Shows episodes as they finish. Writes to the console that it is given; a context."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = _Bar()
        self._live = Live(
            self._bar,
            console=console,
            refresh_per_second=_REFRESHES,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._scores: dict[str, list[int]] = {}
        self._episodes = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """What is going on before the first episode, or while none can be played."""
        self._bar.say(text)
        if not self._console.is_terminal:
            self._print(text)

    def begin(self, episodes: int) -> None:
        """Now there are this many episodes to count."""
        self._episodes = episodes
        self._bar.begin(episodes)

    def waiting(self, mismatch: CheckpointMismatch | None) -> None:
        """A worker waits for the right checkpoint; None: no longer."""
        self.say("playing" if mismatch is None else f"waiting, the {mismatch} (worker {mismatch.worker})")

    def finished(self, result: EpisodeResult, agent: str = "") -> None:
        """One more episode is over; `agent` is named where several play."""
        scores = self._scores.setdefault(agent, [])
        scores.append(result.score)
        done = sum(map(len, self._scores.values()))
        task = world_of_task(result.task).find_task(result.task)
        outcome = f"error: {result.error.kind}" if result.error else f"score {result.score}"
        who = f"{agent}: " if agent else ""
        again = f", repeat {result.repeat}" if result.repeat else ""
        named = task.id if task.id == task.name else f"{task.id} {task.name}"
        place = f"{who}{named}, variation {result.variation}{again}"
        mean = sum(scores) / len(scores)
        self._bar.finish(done, f"mean {mean:.1f}", outcome, place)
        if not self._console.is_terminal:
            self._print(f"{done}/{self._episodes} {place}: {outcome} (mean so far {mean:.1f})")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)


class _Bar:
    """The live display: Rich asks for it again and again, with the width that the terminal has then."""

    def __init__(self) -> None:
        self._text = ""
        self._outcome = ""
        self._mean = ""
        self._columns: dict[str, ProgressColumn] = {
            "spinner": SpinnerColumn(),
            "count": MofNCompleteColumn(),
            "mean": TextColumn("{task.fields[mean]}"),
            "time": TimeRemainingColumn(compact=True),
        }
        self._progress = Progress(disable=True)  # it only keeps the count and the time
        self._task = self._progress.add_task("", total=None, mean="")

    def say(self, text: str) -> None:
        """What is going on."""
        self._text, self._outcome = text, ""

    def begin(self, episodes: int) -> None:
        """How many there are."""
        self._progress.update(self._task, total=episodes)
        self.say("playing")

    def finish(self, done: int, mean: str, outcome: str, place: str) -> None:
        """How many are finished, and the last of them."""
        self._progress.update(self._task, completed=done, mean=mean)
        self._text, self._outcome = place, outcome

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's hook: it alone knows the width."""
        width = options.max_width
        taken = _BESIDE + (4 if width >= _WITH_SPINNER else 0) + (7 if width >= _WITH_TIME else 0)
        bar = BarColumn(bar_width=max(_SHORTEST_BAR, min(_LONGEST_BAR, width - taken)))
        columns: list[ProgressColumn] = [bar, self._columns["count"], self._columns["mean"]]
        if width >= _WITH_SPINNER:
            columns.insert(0, self._columns["spinner"])
        if width >= _WITH_TIME:
            columns.append(self._columns["time"])
        self._progress.columns = tuple(columns)
        yield self._progress.make_tasks_table(self._progress.tasks)
        yield _last_line(self._outcome, self._text, width)


def _last_line(outcome: str, text: str, width: int) -> RenderableType:
    """The last episode: its score is never cut, its name is. What is going on takes as many lines as it needs."""
    if not outcome:
        return Text(text)
    line = Text(f"{outcome}: ", no_wrap=True, overflow="ellipsis")
    line.append(text)
    line.truncate(width, overflow="ellipsis")
    return Lines(line)
