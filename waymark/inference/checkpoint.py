"""Checkpoints on disk: a folder with weights, a tokenizer and a card that says what they are.

    card.json           what it is, how it was made, and the hash of every other file
    config.json         the model's shape, as transformers reads it
    model.safetensors   weights, bf16
    tokenizer.json      as the `tokenizers` library reads it
    ctranslate2/        the same weights converted for CTranslate2, int8

Loading is verifying: nothing is served that its card does not describe, or whose card contradicts its weights. Pickles
are refused outright.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from waymark.command_hints import command
from waymark.contracts import Role
from waymark.errors import CheckpointError
from waymark.inference import weight_shapes
from waymark.inference.checkpoint_files import (
    LARGEST_CARD,
    LARGEST_VOCABULARY,
    list_files,
    parse_json,
    read_file,
    read_object,
    sha256_of,
)
from waymark.inference.tokens import read_tokenizer, unused
from waymark.worlds.registry import get_format

CARD = "card.json"
WEIGHTS = "model.safetensors"
_CONFIG = "config.json"
_TOKENIZER = "tokenizer.json"
_PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin"}
_CTRANSLATE2 = "ctranslate2"
_VOCABULARIES = ("shared_vocabulary.json", "vocabulary.json")
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
_NEEDED = {"seq2seq": ("eos_token_id", "decoder_start_token_id"), "causal": ("eos_token_id",)}
_SHOWN = 100
"""Characters of a file's content that an error quotes."""
_MOST_TOKENS = 10_000_000
"""Of a vocabulary; the largest that are published have some 300,000."""
_QUICKLY_HASHED_BYTES = 200_000_000
MOST_INPUT_TOKENS = 1_048_576
"""Of a prompt; the longest that published models read."""
MOST_NEW_TOKENS = 65_536
"""Of an answer."""
_LARGEST_NUMBER = 2**63 - 1
_Positive = Annotated[int, Field(gt=0, le=_LARGEST_NUMBER, strict=True)]
_Natural = Annotated[int, Field(ge=0, le=_LARGEST_NUMBER, strict=True)]


class Training(BaseModel):
    """How a checkpoint came to be."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    command: str
    """Makes the checkpoint again."""
    commit: str | None
    data_sha256: str
    """Of the trajectories it was trained from."""
    base_sha256: str = ""
    """Of the weights that training began from, where those were a folder; else empty."""
    annotations_sha256: str = ""
    """Of the table of sub-goals; empty in older cards."""
    recipe_sha256: str = ""
    """Of all fields of the recipe, those with their default included; empty in older cards."""
    seed: _Natural
    steps: _Natural
    recipe: dict[str, str | int | float | bool | dict[str, float]]
    dev: dict[str, float]
    """Offline scores on dev: name to value, e.g. exact match of actions, 0 to 1. `majority` is what always giving the
    most frequent answer would have, `exact_match/VERB` the exact match of the answers with that verb."""


class CheckpointCard(BaseModel):
    """What a checkpoint is and needs; `card.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    role: Role
    architecture: Literal["seq2seq", "causal"]
    prompt_format: str
    parameters: _Positive
    max_input_tokens: Annotated[int, Field(gt=2, le=MOST_INPUT_TOKENS, strict=True)]
    """Longer prompts are cut, and the answer says so. One token opens a prompt and one ends it."""
    max_new_tokens: Annotated[int, Field(gt=0, le=MOST_NEW_TOKENS, strict=True)]
    created: str
    """ISO 8601 date."""
    training: Training
    files: dict[str, str]
    """Relative path to SHA-256 of every file but the card."""


class Checkpoint(BaseModel):
    """A verified folder."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    card: CheckpointCard
    sha256: str
    """Of the card, which holds the hashes of all files."""

    @property
    def ctranslate2(self) -> Path:
        """The converted weights."""
        return self.folder / _CTRANSLATE2

    def check_converted(self) -> None:
        """Raise CheckpointError where there are no converted weights."""
        if not (self.ctranslate2 / "model.bin").is_file():
            raise CheckpointError(
                f"{self.folder} has no weights for CTranslate2.",
                remedy=f"Convert it with `{command('training', 'convert', self.folder, 'OUTPUT')}`, "
                "or serve it with transformers (--engine, WAYMARK_ENGINE).",
            )


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder but its card, by relative path."""
    files = {name: path for name, path in list_files(folder).items() if path.name != CARD}
    return {name: sha256_of(files[name]) for name in sorted(files)}


def write_card(folder: Path, card: CheckpointCard) -> None:
    """Put a card over the files of a folder; its `files` are computed here."""
    complete = card.model_copy(update={"files": hash_files(folder)})
    (folder / CARD).write_text(complete.model_dump_json(indent=1) + "\n")


def load(folder: Path, role: Role | None = None, *, hashes: bool = True) -> Checkpoint:
    """Read a checkpoint and verify every file of it against its card; without `hashes`, all but the files' contents.

    Raises CheckpointError when it is missing, truncated, tampered with, foreign, made for another role or not what its
    card says.
    """
    remedy = f"Restore {folder} (git checkout) or train it again; see training.command in its card."
    path = folder / CARD
    if not _exists(path):
        if _exists(folder / _CONFIG):
            raise CheckpointError(
                f"{folder} holds a model without a {CARD}, so nothing says what it was trained for.",
                remedy="Write one: "
                + command("training", "convert", folder, "OUTPUT", "--role", "ROLE", "--format", "FORMAT"),
            )
        problem = (
            f"it has no {CARD}" if folder.is_dir() else "it is no folder" if _exists(folder) else "it does not exist"
        )
        raise CheckpointError(
            f"No checkpoint at {folder}: {problem}.",
            remedy=f"Name a folder with a {CARD}, as `{command('training', 'export')}` writes it.",
        )
    raw = read_file(path, LARGEST_CARD)
    try:
        card = CheckpointCard.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = f" at {'.'.join(map(str, first['loc']))[:_SHOWN]!r}" if first["loc"] else ""
        is_value = isinstance(first["input"], bool | int | float | str) and first["type"] != "json_invalid"
        got = f"; got {first['input']!r:.{_SHOWN}}" if is_value else ""
        raise CheckpointError(
            f"The card of {folder} is unreadable{where}: {first['msg']}{got}.", remedy=remedy
        ) from error
    files = list_files(folder)
    files.pop(CARD)
    # CTranslate2 calls its own format model.bin, too.
    pickles = sorted(
        name for name, file in files.items() if file.suffix in _PICKLES and file.parent.name != _CTRANSLATE2
    )
    if pickles:
        raise CheckpointError(
            f"{folder} holds a pickle ({pickles[0]}), which can run code when loaded.",
            remedy="Keep weights as safetensors and remove the file.",
        )
    for name, expected in card.files.items():
        if name not in files:
            raise CheckpointError(f"{folder} lacks {name}, which its card lists.", remedy=remedy)
        if hashes and sha256_of(files[name]) != expected:
            raise CheckpointError(f"{name} in {folder} is not the file its card describes.", remedy=remedy)
    extra = sorted(files.keys() - card.files.keys())
    if extra:
        raise CheckpointError(f"{folder} holds {extra[0]}, which its card does not list.", remedy="Remove the file.")
    if role is not None and card.role != role:
        raise CheckpointError(
            f"{folder} was trained as {card.role}, not as {role}.", remedy=f"Name a checkpoint of role {role}."
        )
    try:
        get_format(card.prompt_format)
    except CheckpointError as error:
        raise CheckpointError(f"The card of {folder}: {error.message}", remedy=error.remedy) from error
    _check_model(folder, card)
    return Checkpoint(folder=folder, card=card, sha256=hashlib.sha256(raw).hexdigest())


def is_quick_to_hash(folder: Path) -> bool:
    """Whether the hashes of a checkpoint's files are known in about a second. Large ones are verified when loaded."""
    try:
        return sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) <= _QUICKLY_HASHED_BYTES
    except OSError:
        return True


def architecture_of(folder: Path) -> weight_shapes.Architecture:
    """What a model folder's config.json says. Raises CheckpointError when it describes no model."""
    return weight_shapes.architecture_of(_config(folder))


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    remedy = "Name a folder that a model was saved to, whole."
    if not _exists(path):
        raise CheckpointError(f"{path} describes no model: it does not exist.", remedy=remedy)
    try:
        config = read_object(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path} describes no model: {error.message}", remedy=remedy) from error
    rows = config.get("vocab_size")
    if not isinstance(rows, int) or isinstance(rows, bool) or not 0 < rows <= _MOST_TOKENS:
        raise CheckpointError(f"{path} describes no model: its vocab_size is {str(rows)[:_SHOWN]!r}.", remedy=remedy)
    return config


def _check_model(folder: Path, card: CheckpointCard) -> None:
    """Hold the card to what config, weights and tokenizer say of themselves, and those to each other."""
    remedy = (
        "Keep a card with the files that it was written for; without one, "
        f"`{command('training', 'convert')}` writes one."
    )
    for name in (_CONFIG, WEIGHTS, _TOKENIZER):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} lacks {name}.", remedy="Copy the whole folder.")
    architecture, config = architecture_of(folder), _config(folder)
    if architecture != card.architecture:
        raise CheckpointError(
            f"The card of {folder} says {card.architecture}, its config.json {architecture}.", remedy=remedy
        )
    parameters = weight_shapes.count_parameters(folder / WEIGHTS)
    if parameters != card.parameters:
        raise CheckpointError(
            f"The card of {folder} says {card.parameters} parameters, its weights are {parameters}.", remedy=remedy
        )
    weight_shapes.check_config(config, folder / WEIGHTS)
    positions = config.get("max_position_embeddings")
    if positions is not None and (not isinstance(positions, int) or positions < 1):
        raise CheckpointError(
            f"The config.json of {folder} says max_position_embeddings {str(positions)[:_SHOWN]!r}.", remedy=remedy
        )
    if positions is not None and positions < card.max_input_tokens + card.max_new_tokens:
        raise CheckpointError(
            f"The card of {folder} says {card.max_input_tokens} tokens of prompt and {card.max_new_tokens} of answer; "
            f"its model has {positions} positions.",
            remedy=remedy,
        )
    _check_tokens(folder, config)


def _check_tokens(folder: Path, config: Mapping[str, Any]) -> None:
    """Hold the tokenizer, and the vocabulary of the converted weights, to the model."""
    remedy = "Keep the tokenizer that the model was trained with."
    tokenizer = read_tokenizer(folder / _TOKENIZER)
    tokens, rows = tokenizer.get_vocab_size(), int(config["vocab_size"])
    if tokens > rows:
        raise CheckpointError(f"The tokenizer of {folder} has {tokens} tokens, its model {rows}.", remedy=remedy)
    for field in _SPECIAL:
        numbers = config.get(field)
        if numbers is None and field in _NEEDED[weight_shapes.architecture_of(config)]:
            raise CheckpointError(f"The config.json of {folder} names no {field}.", remedy=remedy)
        for number in numbers if isinstance(numbers, list) else [numbers]:
            is_token = isinstance(number, int) and 0 <= number < rows and tokenizer.id_to_token(number)
            if number is not None and not is_token:
                raise CheckpointError(
                    f"The config.json of {folder} says {field} {str(number)[:_SHOWN]}, "
                    "which its tokenizer does not have.",
                    remedy=remedy,
                )
    for name in _VOCABULARIES:
        path = folder / _CTRANSLATE2 / name
        if not path.is_file():
            continue
        try:
            converted = [str(token) for token in parse_json(read_file(path, LARGEST_VOCABULARY), path)]
        except (CheckpointError, TypeError) as error:
            raise CheckpointError(f"{path} is no list of tokens.", remedy=_convert_again(folder)) from error
        expected = [tokenizer.id_to_token(number) or unused(number) for number in range(rows)]
        if converted != expected:
            raise CheckpointError(
                f"The weights for CTranslate2 in {folder} were converted from a model with other tokens.",
                remedy=_convert_again(folder),
            )


def _convert_again(folder: Path) -> str:
    return f"Convert them again: {command('training', 'convert', folder, 'OUTPUT')}"
