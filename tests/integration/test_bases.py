"""Models to start from or to convert: families, shards, and the hub."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints import LLAMA, T5, make_folder
from training.base_models import INDEX, require_base, require_supported, weight_files
from training.export import convert
from training.recipe import make_recipe
from training.run_origin import sha256_of_base
from waymark.errors import CheckpointError, InvalidInput, WaymarkError
from waymark.inference.checkpoint import CARD, load

ROOT = Path(__file__).parents[2]


def make_sharded(folder: Path) -> dict[str, str]:
    """A T5 in two shards without a card; returns its index."""
    make_folder(folder)
    shutil.rmtree(folder / "ctranslate2")
    (folder / CARD).unlink()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    index: dict[str, str] = {}
    names = sorted(weights)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file({name: weights[name].to(torch.bfloat16) for name in part}, folder / shard, {"format": "pt"})
        index |= dict.fromkeys(part, shard)
    write_index(folder, index)
    return index


def write_index(folder: Path, index: Any) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": index}))


def converted(folder: Path, output: Path) -> Any:
    return convert(
        folder,
        output,
        role="executor",
        prompt_format="compact",
        max_input_tokens=64,
        max_new_tokens=8,
        quantization="float32",
    )


def test_sharded_weights_are_converted_by_their_index(tmp_path: Path) -> None:
    make_folder(tmp_path / "whole")
    wanted = load_file(tmp_path / "whole" / "model.safetensors")
    make_sharded(tmp_path / "sharded")
    card = converted(tmp_path / "sharded", tmp_path / "out")
    weights = load_file(load(tmp_path / "out", "executor").folder / "model.safetensors")
    assert weights.keys() == wanted.keys()
    assert all(torch.equal(weights[name].float(), wanted[name]) for name in wanted)
    assert card.parameters == sum(tensor.numel() for tensor in wanted.values())
    assert not list((tmp_path / "out").glob("*of-00002*"))
    assert len(weight_files(tmp_path / "sharded")) == 3
    before = sha256_of_base(str(tmp_path / "sharded"))
    (tmp_path / "sharded" / "model-00002-of-00002.safetensors").write_bytes(b"other")
    assert sha256_of_base(str(tmp_path / "sharded")) not in ("", before)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing shard", "lacks model-00002-of-00002.safetensors"),
        ("absolute", "which is no safetensors file of that folder"),
        ("above", "which is no safetensors file of that folder"),
        ("backslash", "which is no safetensors file of that folder"),
        ("pickle", "which is no safetensors file of that folder"),
        ("tensor in two shards", "more than once"),
        ("tensor twice in the index", "lists shared.weight more than once"),
        ("tensor not listed", "does not list"),
        ("tensor listed and absent", "lacks absent.weight"),
        ("damaged shard", "is no safetensors file"),
        ("no map", "is no index of shards"),
        ("empty map", "does not name a file for each tensor"),
        ("numbers", "does not name a file for each tensor"),
        ("not json", "is no index of shards"),
        ("nothing", "has neither model.safetensors nor"),
    ],
)
def test_shards_that_do_not_fit_their_index_are_refused(fault: str, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    index = make_sharded(folder)
    second = folder / "model-00002-of-00002.safetensors"
    outside = tmp_path / "outside.safetensors"
    shutil.copy(second, outside)
    moved = {"absolute": str(outside), "above": "../outside.safetensors", "backslash": "..\\o.safetensors"}
    if fault in moved or fault == "pickle":
        write_index(folder, index | {"shared.weight": moved.get(fault, "model.bin")})
    elif fault == "missing shard":
        second.unlink()
    elif fault == "damaged shard":
        second.write_bytes(second.read_bytes()[:-9])
    elif fault in ("tensor in two shards", "tensor not listed"):
        extra = {
            next(name for name in index if index[name] != second.name) if "two" in fault else "more": torch.ones(1)
        }
        save_file(load_file(second) | extra, second)
    elif fault == "tensor listed and absent":
        write_index(folder, index | {"absent.weight": second.name})
    elif fault == "tensor twice in the index":
        text = (folder / INDEX).read_text()
        (folder / INDEX).write_text(
            text.replace('"weight_map": {', '"weight_map": {"shared.weight": "a.safetensors", ')
        )
    elif fault == "nothing":
        (folder / INDEX).unlink()
    else:
        contents = {"no map": "{}", "empty map": '{"weight_map": {}}', "numbers": '{"weight_map": {"a": 1}}'}
        (folder / INDEX).write_text(contents.get(fault, "{"))
    with pytest.raises(CheckpointError, match=message):
        converted(folder, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside.safetensors", "sharded"]


# --- families --------------------------------------------------------------------------------------------------------

FAMILIES: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 5}, "model of type 'gpt2'"),
    ({"model_type": "bert", "architectures": ["BertModel"], "vocab_size": 5}, "model of type 'bert'"),
    ({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 5}, "model of type 'qwen2'"),
    ({"model_type": "mt5", "is_encoder_decoder": True, "vocab_size": 5}, "model of type 'mt5'"),
    ({**T5, "architectures": ["T5EncoderModel"]}, "T5EncoderModel, which writes no answers"),
    ({**T5, "is_encoder_decoder": False}, "is_encoder_decoder False of a t5"),
    ({**LLAMA, "architectures": ["LlamaForSequenceClassification"]}, "which writes no answers"),
    ({**LLAMA, "quantization_config": {"quant_method": "awq"}}, "quantized weights"),
    ({"vocab_size": 5}, "model of type 'None'"),
    ({"model_type": ["t5"], "vocab_size": 5}, "model of type"),
]


@pytest.mark.parametrize(("config", "message"), FAMILIES)
def test_a_model_of_another_family_is_refused_at_the_start(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / CARD).unlink()
    (folder / "config.json").write_text(json.dumps(config))
    for use in (
        lambda: require_base(make_recipe({"base": str(folder)})),
        lambda: require_base(make_recipe({"base": str(folder), "architecture": "causal"})),
        lambda: converted(folder, tmp_path / "out"),
    ):
        with pytest.raises(InvalidInput, match=message) as raised:
            use()
        if "quantized" not in message:
            assert "Supported are T5 (encoder-decoder" in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_supported_models_pass_with_and_without_their_class(tmp_path: Path) -> None:
    require_supported(T5, "x")
    require_supported({**T5, "architectures": ["T5ForConditionalGeneration"]}, "x")
    require_supported({**LLAMA, "architectures": ["LlamaForCausalLM"]}, "x")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_base_folder_that_lacks_a_file_is_refused(name: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / name).unlink()
    with pytest.raises(InvalidInput, match=f"has no {name}"):
        make_recipe({"base": str(folder)})


@pytest.mark.parametrize("place", ["parent", "files", "file"])
def test_a_checkpoint_replaces_nothing_but_a_checkpoint(place: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "models" / "model")
    (folder / CARD).unlink()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "thesis.txt").write_text("years of work")
    output = {"parent": tmp_path / "models", "files": tmp_path / "files", "file": tmp_path / "files" / "thesis.txt"}[
        place
    ]
    with pytest.raises(InvalidInput) as raised:
        converted(folder, output)
    assert raised.value.field == "output"
    assert (tmp_path / "files" / "thesis.txt").read_text() == "years of work"
    assert (folder / "config.json").exists()


# --- the hub ---------------------------------------------------------------------------------------------------------


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub that knows one model, whose config.json is a GPT-2's."""

    def do_HEAD(self) -> None:
        self.send_response(503 if "busy" in self.path else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def as_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the address that the library takes for the hub's, with an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return lambda address: monkeypatch.setattr(constants, "ENDPOINT", address)


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("google/flan-t5-lrage", r"There is no folder google/flan-t5-lrage, and the hub at .* has no such model"),
        ("flan", r"There is no folder flan, and the hub at .* has no such model"),
        ("some/busy", r"the hub at .* answers 503"),
        ("checkpoints/executr", "There is no folder checkpoints/executr"),
    ],
)
def test_an_unknown_name_of_the_hub_is_reported_at_once(name: str, message: str, hub: str, as_hub: Any) -> None:
    as_hub(hub)
    with pytest.raises(InvalidInput, match=message):
        require_base(make_recipe({"base": name}))


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_an_unreachable_hub_is_reported_within_seconds(silent: bool, as_hub: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        as_hub(f"http://127.0.0.1:{listening.getsockname()[1]}" if silent else closed_port())
        began = time.monotonic()
        with pytest.raises(InvalidInput, match=r"cannot be reached \(\w+\)\. Check the name, connect to the hub"):
            require_base(make_recipe({"base": "google/flan-t5-small"}))
        assert time.monotonic() - began < 30  # the library by itself: forty


def test_an_unreachable_hub_does_not_matter_for_a_cached_model(tmp_path: Path, as_hub: Any) -> None:
    as_hub(closed_port())
    snapshot = tmp_path / "cache" / "models--some--t5" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0123")
    (snapshot / "config.json").write_text(json.dumps(T5))
    require_base(make_recipe({"base": "some/t5"}))
    (snapshot / "config.json").write_text(json.dumps({**T5, "model_type": "gpt2"}))
    with pytest.raises(InvalidInput, match="model of type 'gpt2'"):
        require_base(make_recipe({"base": "some/t5"}))


def test_the_command_reports_an_unreachable_hub_in_one_line(tmp_path: Path) -> None:
    options = ["--base", "google/flan-t5-small", "--run", str(tmp_path / "run")]
    command = [sys.executable, "-m", "training", "finetune", "executor", *options]
    environment = {"HF_ENDPOINT": closed_port(), "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", "PATH": ""}
    done = subprocess.run(
        [*command, "--run", str(tmp_path / "run")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "cannot be reached" in done.stderr
    assert WaymarkError.__name__ not in done.stderr
