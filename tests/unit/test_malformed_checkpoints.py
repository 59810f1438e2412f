"""Checkpoints from anybody: what is malformed is one line, within bounded time and memory, even if the hashes fit."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import T5, fit_hashes, make_folder
from waymark.errors import CheckpointError
from waymark.inference.checkpoint import CARD, load

SECONDS = 20.0
"""Generous: each of these takes milliseconds."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small checkpoint with a card."""
    return make_folder(tmp_path / "tiny")


def refusal(folder: Path) -> str:
    began = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert time.monotonic() - began < SECONDS
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 2_000
    assert caught.value.remedy
    return text


CONFIGS: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"[" * 100_000,
    b'{"vocab_size": ' + b"9" * 10_000 + b"}",
    b'{"vocab_size": 1e400}',
    b'{"vocab_size": true}',
    b'{"vocab_size": -1}',
    b'{"vocab_size": [5]}',
    b"\xff\xfe\x00",
    b"\0" * 5_000_000,
]


@pytest.mark.parametrize("content", CONFIGS, ids=range(len(CONFIGS)))
def test_a_malformed_config_is_named(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    fit_hashes(folder)
    assert "config.json describes no model" in refusal(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": "two"},
        {"num_layers": 10**15},
        {"num_layers": True},
        {"d_model": -4},
        {"d_model": [4]},
        {"num_heads": 1e9},
        {"eos_token_id": "end"},
        {"eos_token_id": -1},
        {"eos_token_id": 2**70},
        {"eos_token_id": [[1]]},
        {"eos_token_id": {}},
        {"max_position_embeddings": "many"},
        {"max_position_embeddings": []},
        {"model_type": ["t5"]},
        {"is_encoder_decoder": "no"},
        {"is_encoder_decoder": 0},
        {"feed_forward_proj": 7},
        {"tie_word_embeddings": "maybe"},
    ],
)
def test_config_fields_of_a_wrong_type_never_crash(folder: Path, changes: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps({**T5, **changes}))
    fit_hashes(folder)
    with suppress(CheckpointError):
        load(folder)


TOKENIZERS: list[bytes] = [b"", b"{", b"[]", b"{}", b'{"version": "1.0"}', b"\xff", b"[" * 50_000, b"null"]


@pytest.mark.parametrize("content", TOKENIZERS, ids=range(len(TOKENIZERS)))
def test_a_malformed_tokenizer_is_named(folder: Path, content: bytes) -> None:
    (folder / "tokenizer.json").write_bytes(content)
    fit_hashes(folder)
    assert "tokenizer.json" in refusal(folder)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_tokenizer_is_named(folder: Path, share: float) -> None:
    tokenizer = (folder / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").write_bytes(tokenizer[: int(len(tokenizer) * share)])
    fit_hashes(folder)
    assert "Cannot read the tokenizer" in refusal(folder)


def header(text: bytes, length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text


HEADERS: list[bytes] = [
    header(b"{}", 2**63),
    header(b"{}", 2**40),
    header(b"{}", 0),
    header(b"[" * 100_000),
    header(b'{"a": 1}'),
    header(b'{"a": {}}'),
    header(b'{"a": {"dtype": "F32", "shape": 4, "data_offsets": [0, 4]}}') + b"1234",
    header(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}') + b"1234",
    header(b'{"a": {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]}}') + b"1234",
    header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}') + b"1234",
    header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}') + b"1234",
    header(b'{"a": {"dtype": "F32", "shape": [1000000], "data_offsets": [0, 4]}}') + b"1234",
    header(b'{"a": {"dtype": "F32", "shape": [' + b"1," * 99 + b'1], "data_offsets": [0, 4]}}') + b"1234",
    header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": "04"}}') + b"1234",
    header(b'{"__metadata__": {}}'),
]


@pytest.mark.parametrize("content", HEADERS, ids=range(len(HEADERS)))
def test_a_nonsense_header_of_weights_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    fit_hashes(folder)
    assert "model.safetensors" in refusal(folder)


def test_a_sparse_file_with_a_huge_header_is_not_read(folder: Path) -> None:
    with (folder / "model.safetensors").open("wb") as file:
        file.write((2**31).to_bytes(8, "little"))
        file.truncate(2**31 + 16)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_without_hashes(folder)


def load_without_hashes(folder: Path) -> None:
    card = json.loads((folder / CARD).read_bytes())
    (folder / CARD).write_text(json.dumps(card))
    load(folder, hashes=False)


CARD_CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda card: card.pop("role"),
    lambda card: card.update(role="king"),
    lambda card: card.update(role=["executor"]),
    lambda card: card.update(more="field"),
    lambda card: card.update(parameters="many"),
    lambda card: card.update(max_input_tokens=-1),
    lambda card: card.update(max_new_tokens=0),
    lambda card: card.update(files=[]),
    lambda card: card.update(files={"config.json": 7}),
    lambda card: card.update(files={"../../etc/passwd": "0"}),
    lambda card: card.update(prompt_format="unheard"),
    lambda card: card.update(prompt_format=3),
    lambda card: card.update(training=None),
    lambda card: card["training"].update(recipe=[]),
    lambda card: card.update({"x" * 5_000: 1}),
]


@pytest.mark.parametrize("change", CARD_CHANGES, ids=range(len(CARD_CHANGES)))
def test_a_card_with_wrong_fields_is_refused(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    card = json.loads((folder / CARD).read_bytes())
    change(card)
    (folder / CARD).write_text(json.dumps(card))
    refusal(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, value)
        for field in ("max_input_tokens", "max_new_tokens", "parameters", "training.seed", "training.steps")
        for value in (10**30, -1, True, 1.5, "40", float("nan"))
    ]
    + [("max_input_tokens", 2), ("max_input_tokens", 10**9), ("max_new_tokens", 0), ("max_new_tokens", 10**9)]
    + [("training.dev.exact", value) for value in (float("nan"), float("inf"))],
)
def test_a_number_of_a_card_is_bounded_and_quoted(folder: Path, field: str, value: Any) -> None:
    card = json.loads((folder / CARD).read_bytes())
    part: dict[str, Any] = card
    *parents, name = field.split(".")
    for parent in parents:
        part = part[parent]
    part[name] = value
    (folder / CARD).write_text(json.dumps(card))
    text = refusal(folder)
    assert f"at {field!r}: " in text
    assert f"; got {value!r}." in text


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 100_000, b" " * 2_000_000])
def test_a_card_that_is_no_object_is_refused(folder: Path, content: bytes) -> None:
    (folder / CARD).write_bytes(content)
    refusal(folder)


@pytest.mark.parametrize("name", [CARD, "config.json", "tokenizer.json", "model.safetensors", "notes.txt"])
def test_a_fifo_among_the_files_is_refused_without_waiting(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert "a FIFO" in refusal(folder)


def test_a_socket_among_the_files_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("notes")
        assert "a socket" in refusal(folder)


@pytest.mark.parametrize("target", ["notes.txt", "missing", "."])
def test_broken_and_circular_symbolic_links_are_refused(folder: Path, target: str) -> None:
    (folder / "notes.txt").symlink_to(target)
    refusal(folder)


def test_a_card_that_links_to_itself_is_refused(folder: Path) -> None:
    (folder / CARD).unlink()
    (folder / CARD).symlink_to(CARD)
    assert CARD in refusal(folder)


def test_a_folder_of_very_many_files_is_refused(folder: Path) -> None:
    for number in range(1_100):
        (folder / f"{number}.txt").touch()
    assert "more than 1000 files" in refusal(folder)


@pytest.mark.parametrize("content", [b"{", b"7", b"null", b"[" * 100_000])
def test_a_malformed_converted_vocabulary_is_refused(folder: Path, content: bytes) -> None:
    (folder / "ctranslate2" / "shared_vocabulary.json").write_bytes(content)
    fit_hashes(folder)
    assert "no list of tokens" in refusal(folder)
