"""Loading a checkpoint is verifying it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.checkpoints import PARAMETERS, make_folder, write_weights
from waymark.checkpoint import CARD, CheckpointCard, load, write_card
from waymark.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small checkpoint with a card."""
    return make_folder(tmp_path / "tiny")


def rewritten(folder: Path, **changes: object) -> None:
    """Put a card over the files as they are now, with other fields."""
    card = CheckpointCard.model_validate_json((folder / CARD).read_bytes())
    write_card(folder, card.model_copy(update=changes))


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert caught.value.remedy
    return caught.value.message


def test_what_was_written_loads_with_the_hash_of_every_file(folder: Path) -> None:
    checkpoint = load(folder, role="executor")
    assert set(checkpoint.card.files) == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "ctranslate2/model.bin",
    }
    assert checkpoint.ctranslate2 == folder / "ctranslate2"
    assert load(folder).sha256 == checkpoint.sha256


def test_the_hash_of_a_checkpoint_changes_with_its_weights(folder: Path) -> None:
    before = load(folder)
    write_weights(folder, 2.0)
    write_card(folder, before.card)
    assert load(folder).sha256 != before.sha256


def test_a_folder_without_a_card_is_no_checkpoint(tmp_path: Path) -> None:
    assert "No checkpoint" in refusal(tmp_path)
    assert "No checkpoint" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"weight", b"", b"Weights"])
def test_a_truncated_or_changed_file_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    assert "model.safetensors" in refusal(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "ctranslate2" / "model.bin").unlink()
    assert "lacks ctranslate2/model.bin" in refusal(folder)


def test_a_file_that_the_card_does_not_list_is_refused(folder: Path) -> None:
    (folder / "modeling.py").write_text("import os")
    assert "modeling.py" in refusal(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "training_args.bin"])
def test_a_pickle_is_refused_even_if_the_card_lists_it(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    rewritten(folder)
    assert f"a pickle ({name})" in refusal(folder)


@pytest.mark.parametrize(
    "content", [b"\x80\x02}q\x00.", b"", b"\xff" * 16, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}"]
)
def test_weights_that_are_no_safetensors_are_refused_whatever_their_name(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    rewritten(folder)
    assert "no safetensors file" in refusal(folder)


def test_weights_cut_short_before_their_card_was_written_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    rewritten(folder)
    assert "bytes where its header says" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_model_that_lacks_a_part_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    rewritten(folder)
    assert f"lacks {name}" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "causal"}, ("causal", "seq2seq")),
        ({"parameters": 8}, ("8 parameters", str(PARAMETERS))),
        ({"max_input_tokens": 1000}, ("1000 tokens of prompt", "544 positions")),
    ],
)
def test_a_card_that_contradicts_its_model_is_refused(
    folder: Path, changes: dict[str, object], words: tuple[str, ...]
) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"max_position_embeddings": 544}
    (folder / "config.json").write_text(json.dumps(config))
    rewritten(folder)
    load(folder)
    rewritten(folder, **changes)
    message = refusal(folder)
    assert all(word in message for word in words)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"vocab_size": 4}
    (folder / "config.json").write_text(json.dumps(config))
    rewritten(folder)
    assert "has 5 tokens, its model 4" in refusal(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_config_that_describes_no_model_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    rewritten(folder)
    assert "config.json describes no model" in refusal(folder)


def test_a_model_without_a_card_is_told_how_to_get_one(folder: Path) -> None:
    (folder / CARD).unlink()
    with pytest.raises(CheckpointError, match="python -m training convert"):
        load(folder)


@pytest.mark.parametrize(("field", "value"), [("role", "pilot"), ("max_new_tokens", 0), ("surprise", 1)])
def test_a_card_with_a_wrong_field_names_the_field(folder: Path, field: str, value: object) -> None:
    card = json.loads((folder / CARD).read_text()) | {field: value}
    (folder / CARD).write_text(json.dumps(card))
    assert repr(field) in refusal(folder)


def test_a_card_with_an_unknown_prompt_format_is_refused(folder: Path) -> None:
    rewritten(folder, prompt_format="ornate")
    assert refusal(folder) == f"The card of {folder}: Unknown prompt format 'ornate'."


def test_a_card_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / CARD).write_text("{")
    assert "unreadable" in refusal(folder)


def test_a_checkpoint_of_another_role_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="trained as executor, not as controller"):
        load(folder, role="controller")
