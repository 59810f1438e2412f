"""Loading a checkpoint is verifying it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.checkpoints import LLAMA, T5, make_folder, write_model
from waymark.errors import CheckpointError
from waymark.inference.checkpoint import CARD, CheckpointCard, load, write_card


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


def test_a_written_checkpoint_loads_with_all_hashes(folder: Path) -> None:
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
    write_model(folder, T5, 2.0)
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
def test_weights_in_other_formats_are_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    rewritten(folder)
    assert "no safetensors file" in refusal(folder)


def test_weights_cut_short_before_their_card_was_written_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    rewritten(folder)
    assert "bytes, but its header says" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_model_that_lacks_a_part_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    rewritten(folder)
    assert f"lacks {name}" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "seq2seq"}, ("causal", "seq2seq")),
        ({"parameters": 8}, ("8 parameters", "its weights are")),
        ({"max_input_tokens": 1000}, ("1000 tokens of prompt", "544 positions")),
    ],
)
def test_a_card_that_contradicts_its_model_is_refused(
    tmp_path: Path, changes: dict[str, object], words: tuple[str, ...]
) -> None:
    folder = make_folder(tmp_path / "llama", config=LLAMA)
    load(folder)
    rewritten(folder, **changes)
    message = refusal(folder)
    assert all(word in message for word in words)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "small", config={**T5, "vocab_size": 4})
    assert "has 5 tokens, its model 4" in refusal(folder)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (T5, {"vocab_size": 8}, "says vocab_size 8, its weights 5 (shared.weight)"),
        (T5, {"d_model": 8}, "says d_model 8, its weights 4"),
        (T5, {"d_ff": 8}, "says d_ff 8, its weights 6"),
        (T5, {"num_heads": 4}, "says num_heads 4, its weights 3"),
        (T5, {"d_kv": 4}, "says num_heads × d_kv 12, its weights 6"),
        (T5, {"num_layers": 3}, "says num_layers 3, its weights have 2"),
        (T5, {"num_decoder_layers": 2}, "says num_decoder_layers 2, its weights have 1"),
        (T5, {"num_decoder_layers": None}, "says num_decoder_layers 2, its weights have 1"),
        (T5, {"relative_attention_num_buckets": 32}, "says relative_attention_num_buckets 32, its weights 8"),
        (T5, {"tie_word_embeddings": False}, "says tie_word_embeddings False, its weights lack lm_head.weight"),
        (T5, {"feed_forward_proj": "relu"}, "lack encoder.block.0.layer.1.DenseReluDense.wi.weight"),
        (T5, {"d_ff": None}, "says d_ff None, which is no number"),
        (T5, {"d_ff": "wide"}, "says d_ff 'wide', which is no number"),
        (T5, {"model_type": "llama"}, "says is_encoder_decoder True of a llama"),
        (T5, {"eos_token_id": 7}, "says eos_token_id 7, which its tokenizer does not have"),
        (T5, {"decoder_start_token_id": None}, "names no decoder_start_token_id"),
        (LLAMA, {"model_type": "t5"}, "says is_encoder_decoder False of a t5"),
        (LLAMA, {"hidden_size": 6}, "says hidden_size 6, its weights 4"),
        (LLAMA, {"num_attention_heads": 4}, "says num_attention_heads × head_dim 12, its weights 6"),
        (LLAMA, {"num_key_value_heads": None}, "says num_key_value_heads × head_dim 6, its weights 3"),
        (LLAMA, {"head_dim": None}, "says num_attention_heads × head_dim 4, its weights 6"),
        (LLAMA, {"intermediate_size": 4}, "says intermediate_size 4, its weights 5"),
        (LLAMA, {"num_hidden_layers": 1}, "says num_hidden_layers 1, its weights have 2"),
        (LLAMA, {"tie_word_embeddings": True}, "says tie_word_embeddings True, its weights hold lm_head.weight"),
        (LLAMA, {"attention_bias": True}, "lack model.layers.0.self_attn.q_proj.bias"),
        (LLAMA, {"eos_token_id": None}, "names no eos_token_id"),
    ],
)
def test_a_config_that_contradicts_its_weights_names_the_field(
    tmp_path: Path, model: Mapping[str, object], changes: dict[str, object], message: str
) -> None:
    folder = make_folder(tmp_path / "model", config=model)
    load(folder)
    (folder / "config.json").write_text(json.dumps({**model, **changes}))
    rewritten(folder)
    assert message in refusal(folder)


def test_weights_that_their_config_does_not_describe_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", config={**LLAMA, "mlp_bias": True})
    (folder / "config.json").write_text(json.dumps(LLAMA))
    rewritten(folder)
    assert "hold model.layers.0.mlp.down_proj.bias, which" in refusal(folder)


def test_a_t5_with_an_untied_head_is_accepted(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", config={**T5, "tie_word_embeddings": False})
    (folder / "config.json").write_text(json.dumps(T5))
    rewritten(folder)
    load(folder)


def test_a_model_of_unknown_shapes_is_left_to_its_engine(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**T5, "model_type": "qwen3", "d_ff": 8}))
    rewritten(folder)
    load(folder)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["<pad>", "</s>", "<unk>", "look", "round"], "converted from a model with other tokens"),
        (["<pad>"], "converted from a model with other tokens"),
        (7, "no list of tokens"),
    ],
)
def test_converted_weights_of_another_model_are_refused(folder: Path, tokens: object, message: str) -> None:
    (folder / "ctranslate2" / "shared_vocabulary.json").write_text(json.dumps(tokens))
    rewritten(folder)
    assert message in refusal(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_config_that_describes_no_model_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    rewritten(folder)
    assert "config.json describes no model" in refusal(folder)


def test_the_error_about_a_missing_card_names_the_remedy(folder: Path) -> None:
    (folder / CARD).unlink()
    with pytest.raises(CheckpointError, match="training convert"):
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
