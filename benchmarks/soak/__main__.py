"""See `benchmarks.soak`."""

from __future__ import annotations

import typer

from benchmarks.soak.answers import answers
from benchmarks.soak.disconnects import disconnects
from benchmarks.soak.overload import overload

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)
app.command()(answers)
app.command()(disconnects)
app.command()(overload)

if __name__ == "__main__":
    app()
