"""Checks before the start everything that could fail hours later: base models, launcher, endpoint, memory, disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer

from training.base_models import require_base, weight_files
from training.interruption import run_async
from training.llm import prompts
from training.model import base_config, open_tokenizer
from training.reproduce.plan import ROLES, WORLD, Plan, Settings
from training.reproduce.stages import FORMAT
from training.reproduce.t5_sizes import Shape, shape_of
from waymark.clients.chat import ChatClient, Endpoint, Limits, Message
from waymark.contracts import Role
from waymark.errors import InvalidInput, ServiceError
from waymark.inference.weight_shapes import check_config, read_shapes
from waymark.worlds.registry import get_format

_TRIES: Final = 3
_SLOWEST: Final = 60.0
"""Seconds that the endpoint may take over one typical path."""


def check_bases(settings: Settings) -> dict[Role, Shape]:
    """The shape of each role's model. Raises InvalidInput, CheckpointError for a base that cannot be used."""
    shapes: dict[Role, Shape] = {}
    known: dict[str, Shape] = {}
    for role in ROLES:
        recipe = settings.recipe_of(role)
        if not recipe.base:
            raise InvalidInput(
                f"{settings.recipe} names no base model.", remedy="Give --model FOLDER or a hub name.", field="model"
            )
        if recipe.base not in known:
            require_base(recipe)
            if recipe.architecture != "seq2seq":
                raise InvalidInput(
                    f"{recipe.base} is a decoder-only model; the published method fine-tunes T5.",
                    remedy="Name a T5, such as google/flan-t5-large.",
                    field="model",
                )
            config = base_config(recipe).to_dict()
            check_weights(recipe.base, config)
            shape = shape_of(config)
            check_vocabulary(recipe.base, open_tokenizer(recipe, ()), shape.vocabulary)
            known[recipe.base] = shape
        shapes[role] = known[recipe.base]
    return shapes


def check_weights(base: str, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a folder's weights are not whole, or not those of its config.json.

    Their headers alone are read. Weights of the hub are not looked at: they are downloaded when training begins.
    """
    files = weight_files(Path(base))
    if len(files) == 1:
        check_config(config, files[0])
    for shard in files[1:]:  # after their index
        read_shapes(shard)


def check_vocabulary(base: str, tokenizer: Tokenizer, embeddings: int) -> None:
    """Raise InvalidInput if the vocabulary lacks the tokens that number the turns of a published prompt, or has more
    tokens than the model has embeddings."""
    if tokenizer.get_vocab_size() > embeddings:
        raise InvalidInput(
            f"The tokenizer of {base} has {tokenizer.get_vocab_size()} tokens, its model {embeddings} embeddings.",
            remedy="Keep the tokenizer that the model was trained with.",
            field="model",
        )
    needed = [f"<extra_id_{number}>" for number in range(1, get_format(FORMAT).history_turns + 1)]
    lacking = [name for name in needed if tokenizer.token_to_id(name) is None]
    if lacking:
        raise InvalidInput(
            f"The vocabulary of {base} lacks {len(lacking)} of the {len(needed)} extra tokens that number turns in the "
            f"published prompts, the first is {lacking[0]}.",
            remedy="Name a T5 with its own tokenizer.json, such as google/flan-t5-large.",
            field="model",
        )


def check_room(plan: Plan, folder: Path, *, is_sharded: bool) -> None:
    """Raise InvalidInput if there is too little memory or disk space."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free / 1e9
    if free < plan.disk:
        raise InvalidInput(
            f"The plan needs {plan.disk:.1f} GB of disk; {folder} has {free:.1f} GB free.",
            remedy="Free some, name another --output, or choose a smaller --size.",
            field="output",
        )
    memory, where = memory_gigabytes()
    if memory < plan.memory and not is_sharded:
        raise InvalidInput(
            f"Training needs about {plan.memory:.1f} GB of memory; {where} has {memory:.1f} GB.",
            remedy="Set --set batch=… lower (accumulate higher), --set recompute=true, choose a smaller --size, or "
            "shard it with --launch.",
            field="size",
        )


def check_launcher(words: Sequence[str]) -> None:
    """Raise InvalidInput if the configuration that a launcher's words name with `--config_file` is no file."""
    for option, value in pairwise([*words, ""]):
        name, equals, path = option.partition("=")
        if name == "--config_file" and not Path(path if equals else value).is_file():
            raise InvalidInput(
                f"There is no file {path if equals else value!r}, which --launch names with --config_file.",
                remedy="Configurations that come with Waymark are in training/recipes/accelerate/.",
                field="launch",
            )


def memory_gigabytes() -> tuple[float, str]:
    """The memory of the device that trains, and its name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory / 1e9, torch.cuda.get_device_name(0)
    with Path("/proc/meminfo").open() as lines:
        sizes = dict(line.split(":") for line in lines)
    return int(sizes["MemAvailable"].split()[0]) * 1024 / 1e9, "this machine"


def check_endpoint(endpoint: Endpoint, limits: Limits, tries: int = _TRIES) -> float:
    """Ask the endpoint about one path with a known answer, at most `tries` times; returns the seconds that it took.

    Raises InvalidInput if it is too slow or wrong, and the client's errors if it cannot be used.
    """
    annotation_prompts = WORLD.annotation_prompts()
    example = annotation_prompts.example
    question: list[Message] = [
        *prompts.opening(annotation_prompts),
        prompts.asked(example.task, [action for named in example.named for action in named.actions]),
    ]

    async def ask() -> str:
        async with ChatClient(endpoint, Limits(1, tries, min(limits.timeout, _SLOWEST))) as client:
            return (await client.ask(question)).text

    began = time.monotonic()
    try:
        text = run_async(ask)
    except ServiceError as error:
        raise InvalidInput(
            f"The endpoint failed at a first question: {error}",
            remedy="Check it before anything is recorded.",
            field="url",
        ) from error
    if not prompts.read(text):
        shown = " ".join(text.split())[:80]
        raise InvalidInput(
            f"The endpoint answers a first question without sub-goals in the form asked for: {shown!r}.",
            remedy="Use a larger instruction-tuned model, or raise max_tokens in --parameters.",
            field="model",
        )
    return time.monotonic() - began


def train_flops() -> float:
    """Assumed operations a second of training: 35% of an A100's bf16, or a CPU's."""
    return 0.35 * 312e12 if torch.cuda.is_available() else 6e10
