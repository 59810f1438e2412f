"""Tables that fit the terminal. Figures are never cut: where there is no room, columns go, and the table says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_LONGEST_WORD = 20
"""Columns of a terminal up to which a word of text that wraps is kept whole."""
_NARROWEST = 3
"""The width of a name once no column can go any more."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    justify: Literal["left", "right"] = "left"
    style: str = ""
    drop: int | None = None
    """When it goes: columns with lower numbers first, of equals the last; None: it always stays."""
    cut: bool = False
    """Whether its text, a name, may be shortened with an ellipsis. Figures never are."""
    wrap: bool = False
    """Whether its text may take several lines."""
    least: int = 10
    """Columns of a terminal that such text should have before others go."""


@dataclass
class _Row:
    cells: tuple[Text, ...]
    style: str
    ends_section: bool = False


@dataclass
class FittingTable:
    """A table that leaves out columns where the console is too narrow for all of them."""

    columns: Sequence[Column]
    title: str = ""
    title_style: str = ""
    rows: list[_Row] = field(default_factory=list)

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """A row with a cell for each column."""
        self.rows.append(_Row(tuple(Text(cell) if isinstance(cell, str) else cell for cell in cells), style))

    def add_section(self) -> None:
        """Draw a line, or leave room, below the last row."""
        if self.rows:
            self.rows[-1].ends_section = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's hook: it alone knows the width."""
        kept = list(range(len(self.columns)))
        while sum(self._least(place) for place in kept) > _room(options.max_width, len(kept)):
            candidates = [place for place in kept if self.columns[place].drop is not None]
            if not candidates:
                break
            kept.remove(min(candidates, key=lambda place: (self.columns[place].drop, -place)))
        yield self._table(kept, _room(options.max_width, len(kept)))
        left_out = [column.name or "the last" for place, column in enumerate(self.columns) if place not in kept]
        if left_out:
            yield Text(
                f"Not shown for want of width: {', '.join(left_out)}. A wider terminal (or COLUMNS=160) shows all.",
                style="dim",
            )

    def _table(self, kept: Sequence[int], room: int) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD, title=self.title or None, title_justify="left", title_style=self.title_style or None
        )
        widths = {place: self._widest(place) for place in kept}
        flexible = [place for place in kept if self.columns[place].cut or self.columns[place].wrap]
        while sum(widths.values()) > room and any(widths[place] > _NARROWEST for place in flexible):
            # What is above its least gives way first, and of several columns the widest.
            place = max(flexible, key=lambda place: (widths[place] > self._least(place), widths[place]))
            widths[place] -= 1
        for place in kept:
            column = self.columns[place]
            table.add_column(
                column.name,
                justify=column.justify,
                style=column.style or None,
                no_wrap=not column.wrap,
                overflow="ellipsis" if column.cut else "fold",
                width=widths[place],
            )
        for row in self.rows:
            table.add_row(*(row.cells[place] for place in kept), style=row.style or None, end_section=row.ends_section)
        return table

    def _widest(self, place: int) -> int:
        """The width of a column that shows all of its text on single lines."""
        return max([cell_len(self.columns[place].name), *(row.cells[place].cell_len for row in self.rows)])

    def _least(self, place: int) -> int:
        """The width below which a column is not readable."""
        column, widest = self.columns[place], self._widest(place)
        if column.cut:
            return min(widest, column.least)
        if column.wrap:
            words = [word for row in self.rows for word in row.cells[place].plain.split()]
            return min(widest, max([column.least, *(min(cell_len(word), _LONGEST_WORD) for word in words)]))
        return widest


def _room(width: int, columns: int) -> int:
    """What a table of that width leaves for the text of its columns, besides edges, padding and dividers."""
    return width - 2 - 2 * columns - (columns - 1)
