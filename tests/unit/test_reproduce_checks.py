"""What is checked before a reproduction begins: the endpoint, memory and disk. Each failure is one line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from tokenizers import Tokenizer

from tests.chat_server import ChatServer
from training.recipe import Recipe
from training.reproduce.checks import check_endpoint, check_launcher, check_room, check_vocabulary, check_weights
from training.reproduce.plan import Plan, Training
from training.reproduce.random_base import make_base
from training.reproduce.stages import launcher
from training.resumable_stages import PROGRESS, Progress, Stage
from waymark.clients.chat import Endpoint, Limits
from waymark.errors import CheckpointError, InvalidInput
from waymark.inference.checkpoint_files import read_object

TRAINING = Training("executor", examples=10, steps=1, hours=0.1, gigabytes=0.01, disk=0.01)
PLAN = Plan(paths=1, recording_hours=0.1, calls=None, trainings=[TRAINING])
GOOD = "1- navigate_to(kitchen): {'open door to kitchen', 'go to kitchen'}"


class Answering(ChatServer):
    """Answers every request in one way."""

    def __init__(self) -> None:
        super().__init__()
        self.text = GOOD
        self.status = 200
        self.seconds = 0.0
        self.asked = 0

    async def _complete(self, request: Request) -> Response:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.status != 200:
            return PlainTextResponse("no such model", self.status)
        choice = {"index": 0, "message": {"role": "assistant", "content": self.text}, "finish_reason": "stop"}
        return JSONResponse({"object": "chat.completion", "choices": [choice]})


@pytest.fixture
def server() -> Iterator[Answering]:
    with Answering() as running:
        yield running


def refusal(server: Answering, *, timeout: float = 5.0) -> str:
    """The one line that the endpoint is refused with."""
    with pytest.raises(InvalidInput) as caught:
        check_endpoint(Endpoint(server.url, "stand-in"), Limits(timeout=timeout), tries=1)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_an_endpoint_that_works_is_asked_once_and_timed(server: Answering) -> None:
    server.seconds = 0.2
    assert check_endpoint(Endpoint(server.url, "stand-in"), Limits()) >= 0.2
    assert server.asked == 1


def test_a_slow_endpoint_is_refused(server: Answering) -> None:
    server.seconds = 30.0
    assert "did not answer within 0.3 seconds" in refusal(server, timeout=0.3)


def test_an_endpoint_without_the_model_is_refused(server: Answering) -> None:
    server.status = 404
    line = refusal(server)
    assert "failed at a first question" in line
    assert "the address or the model" in line


def test_a_refused_key_is_named(server: Answering) -> None:
    server.status = 401
    assert "Check the key" in refusal(server)


def test_an_endpoint_that_answers_in_prose_is_refused(server: Answering) -> None:
    server.text = "Sure!\nFirst you go to the kitchen,\nthen you boil the water."
    assert "without sub-goals in the form asked for: 'Sure! First you go" in refusal(server)


def test_too_little_disk_is_refused(tmp_path: Path) -> None:
    plan = replace(PLAN, trainings=[replace(TRAINING, disk=1e9)])
    with pytest.raises(InvalidInput, match=r"needs 1000000000\.2 GB of disk; .* GB free\. Free some"):
        check_room(plan, tmp_path / "not" / "made", is_sharded=False)


def test_too_little_memory_is_refused_unless_it_is_sharded(tmp_path: Path) -> None:
    plan = replace(PLAN, trainings=[replace(TRAINING, gigabytes=1e6)])
    with pytest.raises(InvalidInput, match=r"needs about 1000000\.0 GB of memory; .* --launch"):
        check_room(plan, tmp_path, is_sharded=False)
    check_room(plan, tmp_path, is_sharded=True)


def test_what_is_done_needs_no_room_and_no_time() -> None:
    done = frozenset({"trajectories", "annotate", "finetune executor", "evaluate"})
    plan = replace(PLAN, trainings=[replace(TRAINING, is_done=True)], done=done)
    assert (plan.hours, plan.memory) == (0, 0)
    assert plan.disk < 1
    lines = "\n".join(plan.lines())
    assert all(words in lines for words in ("recorded already", "named already", "trained already", "played already"))
    assert "left       about 0.0 h" in lines
    assert lines.count(" h") == 1


def test_fitting_plans_are_not_refused(tmp_path: Path) -> None:
    check_room(PLAN, tmp_path, is_sharded=False)


SHAPE = Recipe(vocabulary=300, width=16, feedforward=32, heads=2, encoder_layers=1, decoder_layers=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_base(folder / "t5", SHAPE, ["open door to kitchen", "go to kitchen"])
    return folder / "t5"


def test_whole_weights_of_their_config_pass(base: Path) -> None:
    check_weights(str(base), read_object(base / "config.json"))


def test_weights_that_were_cut_off_are_refused(base: Path, tmp_path: Path) -> None:
    weights = (base / "model.safetensors").read_bytes()
    for length in (len(weights) - 1, 1000):
        (tmp_path / "model.safetensors").write_bytes(weights[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            check_weights(str(tmp_path), read_object(base / "config.json"))


def test_a_shard_that_was_cut_off_is_refused(base: Path, tmp_path: Path) -> None:
    weights = (base / "model.safetensors").read_bytes()
    (tmp_path / "model-1.safetensors").write_bytes(weights)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"shared.weight": "model-1.safetensors"}}')
    check_weights(str(tmp_path), read_object(base / "config.json"))
    (tmp_path / "model-1.safetensors").write_bytes(weights[:-1])
    with pytest.raises(CheckpointError, match=r"has \d+ bytes, but its header says"):
        check_weights(str(tmp_path), read_object(base / "config.json"))


def test_weights_of_another_config_are_refused(base: Path) -> None:
    with pytest.raises(CheckpointError, match="says d_model 32, its weights 16"):
        check_weights(str(base), {**read_object(base / "config.json"), "d_model": 32})


def test_a_tokenizer_of_another_model_is_refused(base: Path) -> None:
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    check_vocabulary("mine", tokenizer, tokenizer.get_vocab_size())
    with pytest.raises(InvalidInput, match="its model 100 embeddings"):
        check_vocabulary("mine", tokenizer, 100)


@pytest.mark.parametrize("options", ["--config_file none.yaml", "--config_file=none.yaml", "--config_file"])
def test_a_launcher_without_its_configuration_is_refused(options: str) -> None:
    with pytest.raises(InvalidInput, match="--launch names with --config_file"):
        check_launcher(launcher(f"accelerate launch {options}"))


def test_a_launcher_with_its_configuration_is_not_refused() -> None:
    for options in ("", "--config_file training/recipes/accelerate/gpus.yaml"):
        check_launcher(launcher(f"accelerate launch {options}"))


@pytest.mark.parametrize("launch", [" ", "'", 'torchrun "', "no-such-launcher --nproc 2", "/", "\n"])
def test_an_unstartable_launcher_is_refused_before_anything_runs(launch: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        launcher(launch)
    assert refused.value.field == "launch"


def test_a_launcher_is_split_as_a_shell_splits_it() -> None:
    assert launcher("env A='x y' true") == ["env", "A=x y", "true"]
    assert launcher("accelerate launch")[1:] == ["-m", "accelerate.commands.accelerate_cli", "launch"]


@pytest.mark.parametrize("entry", [None, 5, "x", [], {}, {"command": "python -m training a"}, {"files": {}}])
def test_a_stage_whose_progress_was_edited_is_done_again(tmp_path: Path, entry: object) -> None:
    stage = Stage("a", "training", ("a",), ())
    (tmp_path / PROGRESS).write_text(json.dumps({"a": entry}))
    assert not Progress(tmp_path).is_done(stage)
    Progress(tmp_path).note(stage, 1.0)
    assert Progress(tmp_path).is_done(stage)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"null", b"\xff"])
def test_progress_without_a_json_object_is_one_line(tmp_path: Path, text: bytes) -> None:
    (tmp_path / PROGRESS).write_bytes(text)
    with pytest.raises(InvalidInput, match="finished stages"):
        Progress(tmp_path)


def test_a_base_of_few_texts_says_how_many_tokens_it_has(tmp_path: Path) -> None:
    _, tokens = make_base(tmp_path / "t5", SHAPE, ["open door to kitchen", "go to kitchen"])
    assert tokens == Tokenizer.from_file(str(tmp_path / "t5" / "tokenizer.json")).get_vocab_size()
    assert tokens < SHAPE.vocabulary
