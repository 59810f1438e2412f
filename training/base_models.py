"""Pretrained models to start from: which families can be trained, exported and served, and where their files are.

All of it is checked from `config.json` alone, before data or weights are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from training.recipe import Recipe
from waymark.errors import CheckpointError, InvalidInput
from waymark.inference.checkpoint import WEIGHTS
from waymark.inference.checkpoint_files import LARGEST_CONFIG, read_file, read_object
from waymark.inference.weight_shapes import ARCHITECTURES, architecture_of

INDEX: Final = f"{WEIGHTS}.index.json"
"""The file that names the files of sharded weights."""
COPY_AGAIN: Final = "Copy the whole model again, with every shard that its index names."
_CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "t5": ("T5ForConditionalGeneration", "T5WithLMHeadModel"),
    "llama": ("LlamaForCausalLM",),
}
"""Classes that generate text, by `model_type`; names as in `architectures` of config.json."""
_SUPPORTED: Final = "T5 (encoder-decoder, T5ForConditionalGeneration) and Llama (decoder-only, LlamaForCausalLM)"
_HUB_SECONDS: Final = 5.0


def require_supported(config: Mapping[str, Any], source: str) -> None:
    """Raise InvalidInput if a model's family cannot be trained and served here."""
    family, classes = str(config.get("model_type")), config.get("architectures") or ()
    remedy = f"Supported are {_SUPPORTED}."
    if family not in ARCHITECTURES:
        raise InvalidInput(f"{source} holds a model of type {family!r}.", remedy=remedy, field="base")
    if classes and not set(classes) & set(_CLASSES[family]):
        raise InvalidInput(f"{source} holds a {classes[0]}, which writes no answers.", remedy=remedy, field="base")
    if ARCHITECTURES[family] != architecture_of(config):
        raise InvalidInput(
            f"{source} says is_encoder_decoder {bool(config.get('is_encoder_decoder'))} of a {family}.",
            remedy=remedy,
            field="base",
        )
    if config.get("quantization_config"):
        raise InvalidInput(
            f"{source} holds quantized weights.", remedy="Name the model in bfloat16 or float32.", field="base"
        )


def require_fitting_base(recipe: Recipe, config: Mapping[str, Any]) -> None:
    """Raise InvalidInput when a recipe's base is not supported, of another architecture, or too short for it."""
    require_supported(config, recipe.base)
    architecture = architecture_of(config)
    if architecture != recipe.architecture:
        raise InvalidInput(
            f"{recipe.base} is a {architecture} model; the recipe says {recipe.architecture}.",
            remedy=f'Put "architecture": "{architecture}" into the recipe.',
            field="architecture",
        )
    positions = config.get("max_position_embeddings")
    needed = recipe.max_input_tokens + (recipe.max_new_tokens if architecture == "causal" else 0)
    if positions is not None and positions < needed:
        raise InvalidInput(
            f"{recipe.base} reads {positions} tokens; the recipe needs {needed} for prompt and answer.",
            remedy="Lower max_input_tokens.",
            field="max_input_tokens",
        )


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model's folder. Raises CheckpointError if it is missing or does not describe a model."""
    path = folder / "config.json"
    if not path.exists():
        raise CheckpointError(
            f"{folder} holds no model: {path.name} does not exist.",
            remedy="Name a folder with config.json, model.safetensors and tokenizer.json.",
        )
    return read_object(path)


def require_base(recipe: Recipe) -> None:
    """Check the base of a recipe by its config.json. A hub name is looked up on the hub, or in the cache if the hub
    cannot be reached.

    Raises InvalidInput and CheckpointError. Returns within seconds when the hub cannot be reached.
    """
    if not recipe.base:
        return
    folder = Path(recipe.base)
    require_fitting_base(recipe, read_config(folder if folder.is_dir() else _on_the_hub(recipe.base)))


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: model.safetensors, else the index and its shards. Empty for none."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        return []
    return [folder / INDEX, *(folder / name for name in sorted(set(read_index(folder).values())))]


def read_index(folder: Path) -> Mapping[str, str]:
    """Tensor name to the name of the file in the same folder that holds it. Raises CheckpointError."""
    path = folder / INDEX

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
            raise CheckpointError(f"{path} lists {twice} more than once.", remedy=COPY_AGAIN)
        return values

    try:
        index = json.loads(read_file(path, LARGEST_CONFIG), object_pairs_hook=once)["weight_map"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is no index of shards: it has no weight_map.", remedy=COPY_AGAIN) from error
    if not isinstance(index, dict) or not index or not all(isinstance(name, str) for name in index.values()):
        raise CheckpointError(f"The weight_map of {path} does not name a file for each tensor.", remedy=COPY_AGAIN)
    for name in index.values():
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise CheckpointError(
                f"{path} names {name!r}, which is no safetensors file of that folder.",
                remedy="Use only indexes that name files beside themselves.",
            )
    return index


def _on_the_hub(name: str) -> Path:
    """The folder of the hub's cache that holds a model's config.json, downloaded if need be."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils._http import get_session
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except ValueError as error:
        raise InvalidInput(
            f"There is no folder {name}, and no model on the hub can have that name.",
            remedy="Check the name.",
            field="base",
        ) from error

    def cached(why: str) -> Path:
        """The earlier download from the hub's cache. From now on this process does not contact the hub."""
        constants.HF_HUB_OFFLINE = True
        try:
            return Path(hf_hub_download(name, "config.json", local_files_only=True)).parent
        except (LocalEntryNotFoundError, ValueError, OSError) as error:
            raise InvalidInput(
                f"There is no folder {name}, the hub's cache holds no model of that name, and {why}.",
                remedy="Check the name, connect to the hub, or name the folder of a model.",
                field="base",
            ) from error

    if constants.HF_HUB_OFFLINE:
        return cached("HF_HUB_OFFLINE is set")
    address = f"{constants.ENDPOINT}/{name}/resolve/main/config.json"
    try:
        # One try with a short timeout: the library's own calls try for forty seconds.
        status = (
            get_session()
            .head(address, headers=build_hf_headers(), timeout=_HUB_SECONDS, follow_redirects=True)
            .status_code
        )
    except Exception as error:  # noqa: BLE001 - the library's HTTP client has changed its errors before
        return cached(f"the hub at {constants.ENDPOINT} cannot be reached ({type(error).__name__})")
    if status in (401, 403, 404):
        raise InvalidInput(
            f"There is no folder {name}, and the hub at {constants.ENDPOINT} has no such model (HTTP {status}).",
            remedy="Check the name; for a private or gated model, log in with `hf auth login`.",
            field="base",
        )
    if status >= 400:
        return cached(f"the hub at {constants.ENDPOINT} answers {status}")
    try:
        return Path(hf_hub_download(name, "config.json")).parent
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
        return cached(f"downloading from {constants.ENDPOINT} failed ({type(error).__name__})")
