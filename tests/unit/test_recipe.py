"""Recipes: what is wrong with one is said before anything is loaded, and what ships is right."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from training.datasets import Example
from training.recipe import Recipe, make_recipe, read_recipe, recipe_sha256, require_fitting_data, require_same_recipe
from training.recipe_layers import layered
from training.recipe_reference import recipe_fields, recipe_help
from training.run_origin import Origin, claim, read_origin, require_same_purpose, sha256_of_base
from waymark.errors import InvalidInput

RECIPES = sorted((Path(__file__).parents[2] / "training" / "recipes").glob("*.json"))
EXAMPLES = [Example("4-2", 0, "find | room kitchen", "look around", "find")] * 40


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"learningrate": 1}, "learningrate", "Did you mean 'learning_rate'?"),
        ({"steps": "3000"}, "steps", "valid integer"),
        ({"batch": 0}, "batch", "greater than 0"),
        ({"dropout": 1.0}, "dropout", "less than 1"),
        ({"architecture": "encoder"}, "architecture", "'seq2seq' or 'causal'"),
        ({"width": 100, "heads": 8}, "heads", "share of the width"),
        ({"encoder_layers": 0}, "encoder_layers", "at least one"),
        ({"lora_rank": 8}, "lora_rank", "nothing to adapt"),
        ({"more_words": 8}, "more_words", "learns its vocabulary"),
        ({"base": "./absent"}, "base", "no base folder ./absent"),
    ],
)
def test_a_wrong_field_is_named_with_its_problem(values: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as raised:
        make_recipe(values)
    assert raised.value.field == field


def test_a_base_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"has no config\.json"):
        make_recipe({"base": str(tmp_path)})


@pytest.mark.parametrize("text", ["{", "[]", None])
def test_a_file_that_is_no_recipe_is_refused(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidInput) as raised:
        read_recipe(path)
    assert str(path) in raised.value.message


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_that_ship_are_recipes(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for base in re.findall(r'"base": "(build/[^"]+)"', path.read_text()):  # made by an earlier step of the guide
        Path(base).mkdir(parents=True)
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            (Path(base) / name).touch()
    recipe = read_recipe(path)
    assert asdict(recipe) | layered(json.loads(path.read_text()), str(path)) == asdict(recipe)
    assert read_recipe(path, seed=99) == replace(recipe, seed=99)


@pytest.mark.parametrize("changed", [{"steps": 1e99}, {"bacth": 4}])
def test_a_wrong_field_of_the_command_line_is_not_blamed_on_the_recipe(changed: dict[str, Any]) -> None:
    path = next(path for path in RECIPES if path.stem == "small")
    with pytest.raises(InvalidInput, match=r"^The command sets ") as caught:
        read_recipe(path, **changed)
    assert str(path) not in str(caught.value)


def test_every_field_is_described_in_help_and_reference() -> None:
    described = recipe_fields()
    assert [described_field.name for described_field in described] == [field.name for field in fields(Recipe)]
    for described_field in described:
        assert described_field.meaning, described_field.name
        assert json.loads(described_field.default) == asdict(Recipe())[described_field.name]
        assert f"\n{described_field.name}: {described_field.kind}".replace("`", "") in "\n" + recipe_help()
    units = {described_field.name: described_field.unit for described_field in described}
    assert (units["batch"], units["warmup"], units["max_input_tokens"]) == ("examples", "updates", "tokens")


def test_epochs_are_converted_to_updates() -> None:
    published = read_recipe(next(path for path in RECIPES if path.stem == "flan-t5-large-executor"))
    assert (published.batch, published.accumulate) == (8, 4)
    assert published.steps_for(3200) == 30 * 3200 / 32
    assert replace(published, epochs=0.0, steps=7).steps_for(3200) == 7


def test_data_that_a_recipe_cannot_be_followed_on_is_refused() -> None:
    plain = Recipe(batch=32, rename=0.0)
    require_fitting_data(plain, "seed", EXAMPLES, EXAMPLES)
    require_fitting_data(replace(plain, rename=0.5, drills=1), "compact", EXAMPLES, EXAMPLES)
    for recipe, train, dev, field in [
        (replace(plain, rename=0.5), EXAMPLES, EXAMPLES, "rename"),
        (replace(plain, drills=1), EXAMPLES, EXAMPLES, "drills"),
        (plain, EXAMPLES[:31], EXAMPLES, "batch"),
        (plain, EXAMPLES, [], "data"),
    ]:
        with pytest.raises(InvalidInput) as raised:
            require_fitting_data(recipe, "seed", train, dev)
        assert raised.value.field == field


def test_recipes_that_ship_rename_only_where_that_is_understood() -> None:
    """The causal one renames in `transcript`, which has no instruction in front to drill on."""
    causal = read_recipe(next(path for path in RECIPES if path.stem == "small-causal"))
    require_fitting_data(causal, "transcript", EXAMPLES, EXAMPLES)
    with pytest.raises(InvalidInput, match="drills = 1, which needs the prompt format compact") as raised:
        require_fitting_data(replace(causal, drills=1), "transcript", EXAMPLES, EXAMPLES)
    assert raised.value.field == "drills"


@pytest.mark.parametrize(
    "changed", [{"width": 128}, {"steps": 9}, {"rename": 0.9}, {"often": {"pour": 2.0}}, {"seed": 1}]
)
def test_a_begun_run_keeps_every_field_of_its_recipe(changed: dict[str, Any], tmp_path: Path) -> None:
    begun = Recipe(width=64)
    (tmp_path / "recipe.json").write_text(json.dumps({"width": 64}))  # as a version with fewer fields wrote it
    other = replace(begun, **changed)
    require_same_recipe(other, tmp_path)  # nothing was saved yet
    (tmp_path / "state.pt").touch()
    require_same_recipe(begun, tmp_path)
    (name,) = changed
    with pytest.raises(InvalidInput, match=f"begun with {name} = ") as raised:
        require_same_recipe(other, tmp_path)
    assert raised.value.field == name
    assert recipe_sha256(begun) == recipe_sha256(Recipe(width=64)) != recipe_sha256(other)


@pytest.mark.parametrize("name", ["data_sha256", "annotations_sha256", "base_sha256", "sampling"])
def test_a_begun_run_keeps_its_data_and_its_base(name: str, tmp_path: Path) -> None:
    about = {"data_sha256": "1", "annotations_sha256": "1", "base_sha256": "1", "sampling": "all"}
    origin = Origin(role="executor", prompt_format="compact", command="x", **about)
    claim(tmp_path, origin)
    claim(tmp_path, origin.model_copy(update={name: "2"}))  # nothing was saved yet
    (tmp_path / "state.pt").touch()
    with pytest.raises(InvalidInput, match=r"was begun with other .* Begin in another --run folder"):
        claim(tmp_path, origin)
    older = origin.model_copy(update=dict.fromkeys(about, ""))
    (tmp_path / "origin.json").write_text(older.model_dump_json())
    claim(tmp_path, origin)  # an older version recorded less


def test_a_runs_base_weights_are_recorded_by_hash(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    assert sha256_of_base(str(tmp_path)).startswith("ba7816bf")
    assert sha256_of_base("") == sha256_of_base("google/flan-t5-small") == ""


def test_a_run_folder_belongs_to_one_role_and_format(tmp_path: Path) -> None:
    origin = Origin(role="executor", prompt_format="compact", data_sha256="0", command="x")
    assert read_origin(tmp_path) is None
    claim(tmp_path, origin)
    claim(tmp_path, origin.model_copy(update={"data_sha256": "1"}))
    assert read_origin(tmp_path) == origin.model_copy(update={"data_sha256": "1"})
    for other in ({"role": "flat"}, {"prompt_format": "seed"}):
        with pytest.raises(InvalidInput, match="run of role executor in format compact"):
            claim(tmp_path, origin.model_copy(update=other))


def test_a_run_is_not_resumed_with_examples_of_another_wording(tmp_path: Path) -> None:
    origin = Origin(role="executor", prompt_format="seed", data_sha256="0", wording="--as-published", command="x")
    claim(tmp_path, origin)
    claim(tmp_path, origin)
    require_same_purpose(tmp_path, "executor", "seed")  # an export does not ask how examples were written
    with pytest.raises(InvalidInput, match="begun with --as-published, not with examples as serving sends them"):
        claim(tmp_path, origin.model_copy(update={"wording": ""}))
