"""What figures were taken on: the machine, the libraries, the commit; and the table that they stand in."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel
from rich import box
from rich.table import Table

from waymark.evaluation.git_checkout import find_checkout
from waymark.operating_system.cpu_cores import available_cores


class Machine(BaseModel):
    """Where and with what something was measured."""

    cores: int
    """That this process may use."""
    cpu: str
    system: str
    python: str
    libraries: dict[str, str]
    """Version by package; absent ones are left out."""
    commit: str | None
    """With `+` when the code in it was changed; None outside of a checkout."""
    load: float
    """Processes that wanted a core during the last minute before: what else went on here."""

    def line(self) -> str:
        """In one line."""
        libraries = ", ".join(f"{name} {number}" for name, number in self.libraries.items())
        return (
            f"{self.cores} cores of {self.cpu}, load {self.load:.1f} before; {self.system}, Python {self.python}; "
            f"{libraries}; commit {self.commit or 'unknown'}"
        )


def figures(*columns: str) -> Table:
    """An empty table of one line a row: what the first column names, and figures. Narrow: a terminal has 80 columns."""
    table = Table(*columns, box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def describe(*packages: str) -> Machine:
    """This machine now, with the versions of some packages."""
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return Machine(
        cores=available_cores(),
        cpu=_cpu(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        libraries=versions,
        commit=_commit(),
        load=os.getloadavg()[0],
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join(names[0].split()) if names else platform.machine()


def _commit() -> str | None:
    checkout = find_checkout()
    return checkout.commit[:7] + ("+" if checkout.modified else "") if checkout else None
