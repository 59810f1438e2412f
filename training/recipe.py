"""Recipes: everything that determines a fine-tuning run except its data. A recipe is a JSON file and is checked before
anything is loaded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from training.datasets import Example
from training.recipe_layers import layered
from training.user_files import read_json
from training.worlds.registry import training_world_of
from waymark.errors import InvalidInput
from waymark.inference.checkpoint import MOST_INPUT_TOKENS, MOST_NEW_TOKENS

LARGEST_NUMBER = 1_000_000_000
"""Of any whole number of a recipe; the seeds of torch, which are computed from them, hold no larger ones."""
Positive = Annotated[int, Field(gt=0, le=LARGEST_NUMBER)]
Natural = Annotated[int, Field(ge=0, le=LARGEST_NUMBER)]
Share = Annotated[float, Field(ge=0, le=1)]


def _unit(name: str) -> Any:
    """The unit of a field, for its reference."""
    return Field(json_schema_extra={"unit": name})


@dataclass(
    frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)
)
class Recipe:
    """Everything that determines a run except its data. The same recipe gives the same run on one device or several."""

    architecture: Literal["seq2seq", "causal"] = "seq2seq"
    """Encoder-decoder (T5) or decoder only (Llama); a pretrained `base` must be of the same kind."""
    base: str = ""
    """Folder or hub name of a pretrained model, e.g. `google/flan-t5-large`; empty: from scratch."""
    lora_rank: Annotated[Natural, _unit("dimensions")] = 0
    """Train low-rank adapters of this rank on all linear layers of `base`, merged when saved; 0: train all weights."""
    lora_alpha: Positive = 32
    """Adapters are scaled by alpha / rank."""
    more_words: Annotated[Natural, _unit("words")] = 0
    """Words to add to the vocabulary of a `base` that Waymark trained from scratch: the most frequent words of the
    training examples that it lacks. Their embeddings start as the mean of the copy tokens', which stood for them."""
    vocabulary: Annotated[Positive, _unit("tokens")] = 2048
    """Pieces of the tokenizer. From scratch only, like the next five."""
    width: Annotated[Positive, _unit("dimensions")] = 256
    """Width of a token's vector between layers."""
    feedforward: Annotated[Positive, _unit("dimensions")] = 512
    """Width inside the feed-forward layers."""
    heads: Annotated[Positive, _unit("heads")] = 8
    """Attention heads of each layer; each has width / heads dimensions, which must be an even number."""
    encoder_layers: Annotated[Natural, _unit("layers")] = 4
    """Layers of the encoder. Unused by causal models."""
    decoder_layers: Annotated[Positive, _unit("layers")] = 2
    """Layers of the decoder; for a causal model, all of its layers."""
    steps: Annotated[Positive, _unit("updates")] = 4000
    """Updates of the weights."""
    epochs: Annotated[float, Field(ge=0), _unit("passes over the train examples")] = 0.0
    """If not 0, it replaces `steps`: the number of updates is chosen so that each training example is drawn so many
    times on average."""
    batch: Annotated[Positive, _unit("examples")] = 64
    """Examples of one forward pass."""
    accumulate: Annotated[Positive, _unit("forward passes")] = 1
    """Forward passes of an update, on all devices together: each of N devices does accumulate / N of them."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of AdamW after the warm-up."""
    warmup: Annotated[Natural, _unit("updates")] = 200
    """Updates of linear warm-up. After it the learning rate follows a cosine down to a twentieth."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of AdamW, multiplied by the learning rate, for all weights."""
    dropout: Annotated[float, Field(ge=0, lt=1), _unit("probability")] = 0.05
    """Share of activations that are set to zero in training."""
    recompute: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    max_input_tokens: Annotated[int, Field(gt=2, le=MOST_INPUT_TOKENS), _unit("tokens")] = 512
    """Longer prompts are cut at their end."""
    max_new_tokens: Annotated[int, Field(gt=0, le=MOST_NEW_TOKENS), _unit("tokens")] = 40
    """Longer answers are cut; the end token counts."""
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """Task types are drawn with probability count^(1/temperature); 1: in proportion to their examples."""
    hard: Annotated[float, Field(ge=0), _unit("exponent")] = 0.0
    """From the update `hard_from` on, examples are drawn with weight (their loss + 0.1)^hard; 0: all alike."""
    hard_from: Annotated[Natural, _unit("step")] = 0
    """The update before which the losses are measured, once, and from which on they are used."""
    hard_until: Annotated[Natural, _unit("step")] = 0
    """From this update on, examples are drawn alike again, so that easy ones are not forgotten; 0: never."""
    answers: Annotated[float, Field(gt=0), _unit("times")] = 1.0
    """How often a final answer (one of several boxes or planes) is drawn, relative to another decision of its task
    type."""
    corrections: Annotated[float, Field(gt=0), _unit("times")] = 1.0
    """How often the first three decisions after an agent's own turns are drawn, relative to other decisions of the task
    type."""
    often: dict[str, Annotated[float, Field(gt=0)]] = field(default_factory=dict)
    """Verbs whose decisions are drawn more often, with the factor, e.g. `{"connect": 5}`."""
    rename: Annotated[Share, _unit("share")] = 0.3
    """Share of examples whose names are replaced consistently."""
    drills: Annotated[Natural, _unit("batches")] = 0
    """Batches of copying drills before each batch of examples. A drill is the instruction alone, with its names
    replaced. Without drills, models from scratch learn names as labels."""
    evaluate_every: Annotated[Positive, _unit("updates")] = 500
    """Updates between evaluations on dev."""
    evaluated: Annotated[Positive, _unit("examples")] = 600
    """Dev examples of an evaluation, evenly spread over dev."""
    patience: Annotated[Natural, _unit("evaluations")] = 0
    """Stop after this many evaluations without a better dev score; 0: never."""
    seed: Natural = 0
    """Seed of the weights, the batches, the renaming and dropout."""

    def is_hard_at(self, step: int) -> bool:
        """Whether hard examples are drawn more often for that step."""
        return self.hard > 0 and self.hard_from <= step and (not self.hard_until or step < self.hard_until)

    def learning_rate_at(self, step: int, steps: int) -> float:
        """That of an update (from 0) in a run of so many: linear warm-up, then a cosine down to a twentieth."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, steps - self.warmup)
        return self.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))

    def steps_for(self, examples: int) -> int:
        """Updates of a run on so many training examples."""
        return math.ceil(self.epochs * examples / (self.batch * self.accumulate)) if self.epochs else self.steps


def recipe_sha256(recipe: Recipe) -> str:
    """The hash of all fields of a recipe, which identifies it independently of its file."""
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()


def make_recipe(
    values: dict[str, Any], source: str = "the recipe", *, changed: Collection[str] = (), is_base_needed: bool = True
) -> Recipe:
    """A recipe from its fields. `source` names where they come from, except for those that the command line `changed`.
    Raises InvalidInput at the first wrong one.

    Without `is_base_needed` the folder of its base may be missing, because nothing is trained from it any more.
    """
    known = [recipe_field.name for recipe_field in fields(Recipe)]
    for name in values:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise InvalidInput(
                f"{'The command sets' if name in changed else f'{source} has'} a field {name!r}, "
                "which recipes do not know.",
                remedy=f"Did you mean {near[0]!r}?" if near else f"Fields are {', '.join(known)}.",
                field=name,
            )
    try:
        recipe = Recipe(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise InvalidInput(
            f"{'The command sets' if name in changed else f'{source} has'} {name} = {values[name]!r}: {first['msg']}.",
            remedy="Correct that field.",
            field=name,
        ) from error
    if not recipe.base and recipe.width % (2 * recipe.heads):
        raise InvalidInput(
            f"{source} has width {recipe.width} and {recipe.heads} heads.",
            remedy="Each head needs the same even share of the width.",
            field="heads",
        )
    if not recipe.base and recipe.architecture == "seq2seq" and not recipe.encoder_layers:
        raise InvalidInput(f"{source} has no encoder layers.", remedy="Give at least one.", field="encoder_layers")
    if recipe.more_words and not recipe.base:
        raise InvalidInput(
            f"{source} asks for {recipe.more_words} more words of a model from scratch, which learns its vocabulary.",
            remedy="Name a base, or set more_words to 0 and vocabulary to a larger number.",
            field="more_words",
        )
    if recipe.lora_rank and not recipe.base:
        raise InvalidInput(
            f"{source} asks for LoRA on a model from scratch, which has nothing to adapt.",
            remedy="Name a base, or set lora_rank to 0.",
            field="lora_rank",
        )
    if recipe.base and is_base_needed:
        _require_base(recipe.base)
    return recipe


def read_recipe(path: Path, role: str = "", size: str = "", **changed: Any) -> Recipe:
    """A recipe file for a role and a size, with some of its fields changed. Raises InvalidInput, never a parser's own
    error."""
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidInput(
            f"Cannot read the recipe {path}: {error.strerror}.",
            remedy="Recipes that come with Waymark are in training/recipes/.",
            field="recipe",
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"The recipe {path} is not JSON: {error}.", remedy="Correct the file.", field="recipe"
        ) from error
    if not isinstance(values, dict):
        raise InvalidInput(f"The recipe {path} is not a JSON object.", remedy="Write its fields.", field="recipe")
    return make_recipe(layered(values, str(path), role, size) | changed, str(path), changed=changed)


def has_state(folder: Path) -> bool:
    """Whether a run folder holds a state to resume from: a file, or a folder where weights are sharded."""
    return (folder / "state.pt").exists() or (folder / "state").exists()


def require_same_recipe(recipe: Recipe, folder: Path) -> None:
    """Raise InvalidInput with the name of the field if the run in `folder` began with another recipe."""
    path = folder / "recipe.json"
    if not (has_state(folder) and path.is_file()):
        return
    # Fields that the recipe of an older run lacks had their defaults.
    begun, now = asdict(Recipe()) | read_json(path, "the recipe of a run"), asdict(recipe)
    for name, value in now.items():
        if begun[name] != value:
            raise InvalidInput(
                f"The run in {folder} was begun with {name} = {begun[name]!r}; this recipe says {value!r}.",
                remedy=f"Resume it with --recipe {path}, or begin in another --run folder "
                f"(with --base {folder / 'best'} to start from its weights).",
                field=name,
            )


def require_fitting_data(recipe: Recipe, prompt_format: str, train: Sequence[Example], dev: Sequence[Example]) -> None:
    """Raise InvalidInput if a recipe does not work with these examples in this prompt format."""
    world = training_world_of(example.task_id for example in train) if train else None
    asked_for = (
        ("rename", recipe.rename, world.renamable if world else ()),
        ("drills", recipe.drills, world.drillable if world else ()),
    )
    for name, share, formats in asked_for:
        if world and share and prompt_format not in formats:
            needs = f"needs the prompt format {' or '.join(formats)}" if formats else f"{world.world.title} has not"
            raise InvalidInput(
                f"The recipe has {name} = {share}, which {needs}, not {prompt_format!r}."
                if formats
                else f"The recipe has {name} = {share}, which {needs}.",
                remedy=f"Set {name} to 0, as training/recipes/flan-t5-large-executor.json does.",
                field=name,
            )
    if len(train) < recipe.batch:
        raise InvalidInput(
            f"There are {len(train)} training examples, fewer than one batch of {recipe.batch}.",
            remedy="Record more trajectories of split train, or set a smaller batch.",
            field="batch",
        )
    if not dev:
        raise InvalidInput(
            "There are no dev examples to select by.",
            remedy="Record trajectories of split dev (python -m training trajectories --split dev) and annotate them.",
            field="data",
        )


def _require_base(base: str) -> None:
    """A path must be a model's folder; a hub name (`owner/name` or `name`) is looked up when it is loaded."""
    folder = Path(base)
    if folder.is_dir():
        for name in ("config.json", "tokenizer.json"):
            if not (folder / name).is_file():
                raise InvalidInput(
                    f"The base folder {base} has no {name}.",
                    remedy="It needs config.json, model.safetensors and tokenizer.json.",
                    field="base",
                )
        if not any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
            raise InvalidInput(
                f"The base folder {base} has no model.safetensors.",
                remedy="Save the weights with safetensors, whole or in shards with model.safetensors.index.json.",
                field="base",
            )
    elif base.startswith((".", "/", "~")) or base.count("/") > 1:
        raise InvalidInput(f"There is no base folder {base}.", remedy="Check the path.", field="base")
