"""Loading a checkpoint is verifying it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from waymark.checkpoint import CARD, CheckpointCard, Training, load, write_card
from waymark.errors import CheckpointError

TRAINING = Training(
    command="python -m training finetune",
    commit=None,
    data_sha256="0" * 64,
    seed=0,
    steps=1,
    recipe={"lr": 1e-3},
    dev={"exact": 0.5},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small checkpoint with a card."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "ctranslate2").mkdir()
    (tmp_path / "ctranslate2" / "model.bin").write_bytes(b"converted")
    card = CheckpointCard(
        name="tiny",
        role="executor",
        architecture="seq2seq",
        prompt_format="seed",
        parameters=7,
        max_input_tokens=512,
        max_new_tokens=32,
        created="2025-01-01",
        training=TRAINING,
        files={},
    )
    write_card(tmp_path, card)
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert caught.value.remedy
    return caught.value.message


def test_what_was_written_loads_with_the_hash_of_every_file(folder: Path) -> None:
    checkpoint = load(folder, role="executor")
    assert set(checkpoint.card.files) == {"model.safetensors", "ctranslate2/model.bin"}
    assert checkpoint.ctranslate2 == folder / "ctranslate2"
    assert load(folder).sha256 == checkpoint.sha256


def test_the_hash_of_a_checkpoint_changes_with_its_weights(folder: Path) -> None:
    before = load(folder)
    (folder / "model.safetensors").write_bytes(b"other weights")
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


def test_a_pickle_is_refused_even_if_the_card_lists_it(folder: Path) -> None:
    (folder / "pytorch_model.pt").write_bytes(b"x")
    card = CheckpointCard.model_validate_json((folder / CARD).read_bytes())
    write_card(folder, card)
    assert "pickle" in refusal(folder)


@pytest.mark.parametrize(("field", "value"), [("role", "pilot"), ("parameters", "many"), ("surprise", 1)])
def test_a_card_with_a_wrong_field_names_the_field(folder: Path, field: str, value: object) -> None:
    card = json.loads((folder / CARD).read_text()) | {field: value}
    (folder / CARD).write_text(json.dumps(card))
    assert repr(field) in refusal(folder)


def test_a_card_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / CARD).write_text("{")
    assert "unreadable" in refusal(folder)


def test_a_checkpoint_of_another_role_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="trained as executor, not as controller"):
        load(folder, role="controller")
