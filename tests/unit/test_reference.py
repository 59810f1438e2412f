"""The generated pages of docs/reference are current, and no environment variable is missing from them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREFIXES = {"WAYMARK_LLM", "WAYMARK_PLANNER"}
"""Beginnings of names, from which the code makes whole ones."""
READERS = ("waymark", "services", "training", "benchmarks", "tests", "deploy")
SUFFIXES = {".py", ".sh", ".sbatch", ".yml", ".yaml"}


def test_the_generated_pages_are_current() -> None:
    command = [sys.executable, "-m", "tools.reference", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\nRun `python -m tools.reference` and commit the pages."


def test_every_variable_of_the_code_is_on_the_settings_page() -> None:
    files = [path for folder in READERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    text = "".join(path.read_text(encoding="utf-8") for path in (*files, ROOT / "run", ROOT / "docker-compose.yml"))
    names = set(re.findall(r"\bWAYMARK_[A-Z_]*[A-Z]\b", text)) - PREFIXES
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert names
    assert sorted(name for name in names if f"`{name}`" not in page) == []
