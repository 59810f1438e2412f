"""Wrong words on the command line: one line that quotes them, exit code 2. In this process, so that many are tried."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer._click.exceptions import UsageError

from training.cli import app as training
from waymark.cli.main import app, main
from waymark.commands.options import variations_of
from waymark.errors import InvalidInput

Run = Callable[..., tuple[object, str, str]]
SCRIPTED = {"--engine": "scripted", "--environment": "scripted"}
BAD_OPTIONS: list[tuple[tuple[str, ...], str]] = [
    (("evaluate", "--slots", "0"), "'0'"),
    (("evaluate", "--slots", "many"), "'many'"),
    (("evaluate", "--slots", "257"), "'257'"),
    (("evaluate", "--seed", "x"), "'x'"),
    (("evaluate", "--seed", "-1"), "'-1'"),
    (("evaluate", "--seed", "1e3"), "'1e3'"),
    (("evaluate", "--beams", "17"), "'17'"),
    (("evaluate", "--repeats", "0"), "'0'"),
    (("evaluate", "--engine", "steam"), "steam"),
    (("evaluate", "--environment", "moon"), "moon"),
    (("evaluate", "--protocol", "slow"), "slow"),
    (
        (
            "evaluate",
            "--nonsense",
        ),
        "--nonsense",
    ),
    (("evaluate", "4-2"), "4-2"),
    (("evaluat",), "evaluat"),
    (("report",), "run"),
    (("export", "runs/x"), "file"),
    (("up", "--port", "99999"), "'99999'"),
    (("up", "--port", "0"), "'0'"),
    (("up", "--port", "8001"), "cannot share port 8001"),
    (("evaluate", "--agent", "nobody"), "nobody"),
    (("evaluate", "--agent", ","), "No agent"),
    (("evaluate", "--tasks", "1-9"), "'1-9'"),
    (("evaluate", "--tasks", ""), "No task"),
    (("evaluate", "--variations", "3-1"), "'3-1'"),
    (("evaluate", "--variations", "a"), "'a'"),
    (("evaluate", "--variations", "-1"), "'-1'"),
    (("evaluate", "--variations", "1-2-3"), "'1-2-3'"),
    (("evaluate", "--variations", "0-999999999"), "0-999999999"),
    (("evaluate", "--variations", "1.5"), "'1.5'"),
    (("evaluate", "--variations", "٣"), "Variations must be"),
    (("evaluate", "--tasks", "1-1", "--variations", "30"), "variations 0 to 29"),
    (("evaluate", "--url", "127.0.0.1:8000"), "http://"),
    (("evaluate", "--url", "ftp://127.0.0.1"), "http://"),
    (("evaluate", "--url", "http://"), "no host"),
    (("evaluate", "--url", "http://a b/"), "a b"),
    (("evaluate", "--url", "http://127.0.0.1:99999"), "99999"),
    (("evaluate", "--url", "http://127.0.0.1:x"), "http://127.0.0.1:x"),
    (("evaluate", "--url", "http://[::1"), "http://[::1"),
    (("evaluate", "--url", "http://a\nb"), "a"),
    (("evaluate", "--url", f"http://{'a' * 70}.example"), "aaa"),
    (("status", "--url", "gopher://x"), "http://"),
    (("resume", "nowhere/run"), "No run at nowhere/run"),
    (("report", "/dev/null"), "/dev/null"),
    (("compare", "nowhere/a", "nowhere/b"), "No run"),
    (("recover", "nowhere"), "nowhere"),
    (("loadtest", "http://127.0.0.1:1", "--rate", "x"), "x"),
    (("loadtest", "http://127.0.0.1:1", "--seconds", "0"), "'0'"),
    (("loadtest", "http://127.0.0.1:1", "--seconds", "nan"), "'nan'"),
    (("loadtest", "http://127.0.0.1:1", "--rate", "nan"), "nan"),
    (("loadtest", "http://127.0.0.1:1", "--rate", "inf"), "inf"),
    (("loadtest", "http://127.0.0.1:1", "--timeout", "inf"), "'inf'"),
    (("loadtest", "http://127.0.0.1:99999"), "99999"),
    (("loadtest", "127.0.0.1"), "http://"),
    (("loadtest", "http://127.0.0.1:1", "--plot", "x.bmp"), "x.bmp"),
    (("loadtest", "compare", "nowhere", "nowhere"), "nowhere"),
    (("loadtest", "compare", "/dev/zero", "/dev/zero"), "/dev/zero is a device"),
    (("loadtest", "compare", "/", "/"), "is a directory"),
    (("serve", "x"), "'x'"),
    (("worker", "--slots", "0"), "'0'"),
]


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `waymark` in an empty folder; returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["waymark", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.mark.parametrize(
    ("arguments", "says"), BAD_OPTIONS, ids=[" ".join(words)[:60].replace("\n", " ") for words, _ in BAD_OPTIONS]
)
def test_a_bad_option_is_one_line_with_its_value(
    run_command: Run, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    scripted = [
        word
        for option in SCRIPTED.items()
        if arguments[0] in {"evaluate", "up"} and option[0] not in arguments
        for word in option
    ]
    code, out, err = run_command(*arguments, *scripted)
    assert (code, out) == (2, ""), err
    assert says in err
    assert len(err.strip().splitlines()) == 1, err
    assert list(tmp_path.iterdir()) == []


def _float_options(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _float_options(command, (*words, name))
        else:
            yield from ((command, option) for option in command.params if option.bare_type() == "float")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("commands", [app, training], ids=["waymark", "training"])
def test_no_option_takes_what_is_no_finite_number(commands: typer.Typer, number: str) -> None:
    options = list(_float_options(typer.main.get_command(commands)))
    assert options
    for command, option in options:
        with pytest.raises(UsageError, match=r"."):
            option.process_value(typer.Context(command), number)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [(None, None), ("0", (0,)), ("0-3", (0, 1, 2, 3)), (" 5 , 1 - 2 ", (5, 1, 2)), ("7-7,", (7,)), ("", ())],
)
def test_variations_are_numbers_and_ranges(text: str | None, numbers: tuple[int, ...] | None) -> None:
    assert variations_of(text) == numbers


@pytest.mark.parametrize("text", ["3-1", "a", "-1", "0-", "1.5", "0-20000000", "1;2", "0x1", "1e3", "9" * 5_000])
def test_wrong_variations_are_refused_with_their_value(text: str) -> None:
    with pytest.raises(InvalidInput, match="ranges such as 0-3; got"):
        variations_of(text)


def test_the_version_is_printed(run_command: Run) -> None:
    code, out, _ = run_command("--version")
    assert code == 0
    assert out.startswith("waymark 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_completion_is_printed(run_command: Run, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    code, out, _ = run_command("--show-completion", shell)
    assert code == 0
    assert "_WAYMARK_COMPLETE" in out
