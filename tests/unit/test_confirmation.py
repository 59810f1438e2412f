"""The question of `reproduce` before it begins."""

from __future__ import annotations

import io

import pytest

from training.commands.reproduce import _is_confirmed
from waymark.errors import InvalidInput


@pytest.mark.parametrize(("answer", "is_confirmed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_the_answer_is_read_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, answer: str, is_confirmed: bool
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert _is_confirmed() is is_confirmed


def test_without_standard_input_the_refusal_names_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(InvalidInput, match="--yes"):
        _is_confirmed()
