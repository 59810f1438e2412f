"""The documents name only what exists: links, headings, files, modules, commands and options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tools.reference.cli import option_names

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
LOG = ROOT / "docs" / "log.md"
"""It may name files of earlier commits."""
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDERS = "waymark|services|training|tests|docs|deploy|benchmarks|tools|data|checkpoints|requirements"
FILE = re.compile(rf"`((?:{FOLDERS}|\.ci)/[^`\s]*)`")
MODULE = re.compile(r"`((?:waymark|services|training|benchmarks|tools)(?:\.\w+)+)`")
MADE_BY_USERS = (
    "checkpoints/first",
    "checkpoints/mine",
    "waymark/_bundled",
    "waymark/worlds/my_world",
    "training/worlds/my_world",
)
"""What a user or an installation makes."""
SCRIPT_ONLY = {"./run test", "./run check", "./run vllm", "./run reproduce", "./run --help", "./run --show-completion"}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", text_of(page))):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not target.startswith(("http://", "https://")) and (
            not file.exists() or (anchor and anchor not in anchors(file))
        ):
            yield f"{name_of(page)}: {target}"


def missing_files(page: Path) -> Iterator[str]:
    for path in FILE.findall(text_of(page)):
        placeholder = re.search(r"[A-Z]{3,}|…|<", path.rpartition("/")[2])
        if (
            not placeholder
            and not path.startswith(MADE_BY_USERS)
            and not any(ROOT.glob(path.rstrip("/").partition(":")[0]))
        ):
            yield f"{name_of(page)}: {path}"


def missing_modules(page: Path) -> Iterator[str]:
    for module in MODULE.findall(text_of(page)):
        path = ROOT.joinpath(*module.split("."))
        within = path.parent.with_suffix(".py")
        sources = [within, path.parent / "__init__.py"]
        defined = any(file.is_file() and re.search(rf"\b{path.name}\b", text_of(file)) for file in sources)
        if not (path.is_dir() or path.with_suffix(".py").is_file() or defined):
            yield f"{name_of(page)}: {module}"


def commands(page: Path) -> Iterator[list[str]]:
    """The words of the commands that a page shows in code blocks, without comments and variables before them."""
    blocks = [code for kind, code in FENCE.findall(text_of(page)) if kind in ("sh", "bash")]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    starts = re.compile(r"(?:\w+=\S* )*(?:accelerate launch .*?)?((?:\./run|(?:python |-)m training) .*)")
    for line in lines:
        for part in re.split(r"&&|;| do ", line.partition("  #")[0]):
            if match := starts.match(part.strip()):
                yield [word for word in shlex.split(re.sub(r'"?[>$].*', "", match[1])) if word != "-m"]


def unknown_commands(page: Path, known: dict[str, set[str]]) -> Iterator[str]:
    for words in commands(page):
        program = "./run" if words[0] == "./run" else "python -m training"
        rest = words[words.index(program.rsplit(maxsplit=1)[-1]) + 1 :]
        name = f"{program} {rest[0]}"
        if name in SCRIPT_ONLY:
            continue
        longer = " ".join([name, *rest[1:2]])
        options = {word.partition("=")[0] for word in rest[1:] if word.startswith("--")}
        if not options <= known.get(longer, known.get(name, set())) or name not in known:
            yield f"{name_of(page)}: {' '.join(words)}"


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    assert [link for page in PAGES for link in broken_links(page)] == []


def test_every_file_and_module_that_is_named_exists() -> None:
    pages = [page for page in PAGES if page != LOG]
    assert [path for page in pages for path in (*missing_files(page), *missing_modules(page))] == []


def test_every_command_and_option_that_is_shown_exists() -> None:
    known = option_names()
    assert sum(1 for page in GUIDES for _ in commands(page)) > 20
    assert [line for page in GUIDES for line in unknown_commands(page, known)] == []


def test_the_readme_fits_two_screens() -> None:
    lines = text_of(ROOT / "README.md").splitlines()
    assert len(lines) <= 110
    assert max(map(len, lines)) <= 120
