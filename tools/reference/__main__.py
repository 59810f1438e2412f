"""`python -m tools.reference`: write the generated pages, or check that they are current."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[2] / "docs"


def main(arguments: list[str]) -> int:
    """The exit code: 0 when all pages are written or current, 1 when `--check` finds one that is not, 2 for others."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("Usage: python -m tools.reference [--check]\n")
        return 2
    for name in [name for name in os.environ if name.startswith("WAYMARK_")]:
        del os.environ[name]  # the pages show defaults
    os.environ["WAYMARK_COMMAND"] = "./run"  # help texts name the command so
    stale = [name for name, text in _pages().items() if not _is_current(DOCS / name, text)]
    for name in stale:
        if not arguments:
            (DOCS / name).write_text(_pages()[name], encoding="utf-8")
        sys.stderr.write(f"docs/{name} {'is out of date' if arguments else 'written'}\n")
    return 1 if stale and arguments else 0


def _pages() -> dict[str, str]:
    from tools.reference import cli, decisions, http_api, settings
    from training.recipe_reference import recipe_page

    return {
        "architecture/decisions.md": decisions.render(),
        "reference/cli.md": cli.render(),
        "reference/http-api.md": http_api.render(),
        "reference/recipe.md": recipe_page(),
        "reference/settings.md": settings.render(),
    }


def _is_current(page: Path, text: str) -> bool:
    return page.is_file() and page.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
