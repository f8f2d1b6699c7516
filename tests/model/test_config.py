"""Tests of the configuration: defaults, recipes, overrides, and the error of each wrong value."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import TrainConfig
from model.utils.errors import UserError
from model.utils.settings import check
from pipeline.config import load_config

ROOT = Path(__file__).resolve().parents[2]
PARAMS = ROOT / "params.yaml"


def test_the_defaults_are_those_of_params_yaml() -> None:
    assert load_config(PARAMS).sections() == yaml.safe_load(PARAMS.read_text().replace("e-4", "e-04"))


RECIPES = sorted([*(ROOT / "recipes").rglob("*.yaml"), *(ROOT / "benchmarks" / "trials").rglob("*.yaml")])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_changes_something(recipe: Path) -> None:
    best = "recipes/best"
    beneath = {
        "seed": ("recipes/small", "recipes/seed/common"),
        "trials": (best, "benchmarks/trials/common"),
        "large": (best,),
        "catalog": ("benchmarks/trials/catalog/common",),
        "full": ("recipes/catalog",),
    }
    base = tuple(ROOT / f"{name}.yaml" for name in beneath.get(recipe.parent.name, ()))
    changed = load_config(PARAMS, (*base, recipe))
    assert changed != load_config(PARAMS, base) or recipe.stem in ("common", "base", "full")


def test_later_recipes_and_overrides_replace_earlier_ones(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("train:\n  images: 10\n  warmup_images: 0\n  seed: 1\n  generator:\n    channels: 8\n")
    other.write_text("train:\n  seed: 2\n")
    config = load_config(PARAMS, (one, other), ("train.generator.levels=3", "train.learning_rate=1e-3")).train
    assert (config.images, config.seed, config.generator.channels, config.generator.levels) == (10, 2, 8, 3)
    assert config.learning_rate == 1e-3
    assert config.discriminator == load_config(PARAMS).train.discriminator


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("inspect.psi_warn=0", ("inspect.psi_warn", "greater than 0")),
        ("inspect.psi_stop=0.05", ("psi_stop (0.05)", "0 or at least psi_warn (0.1)")),
        ("train.imges=5", ("train.imges", "not a known key", "params.yaml")),
        ("trian.images=5", ("trian", "not a known key")),
        ("train.images=0", ("train.images", "0", "greater than or equal to 1")),
        ("train.images=ten", ("train.images", "'ten'", "integer")),
        ("train.images='10'", ("train.images", "'10'", "integer")),
        ("train.learning_rate=0", ("train.learning_rate", "greater than 0")),
        ("train.learning_rate=.nan", ("train.learning_rate", "nan")),
        ("train.betas=[0.5]", ("train.betas",)),
        ("train.damage=1.5", ("train.damage", "1.5", "less than or equal to 1")),
        ("train.hints=0.5", ("hints (0.5)", "generator.hints")),
        ("train.decay=exponential", ("train.decay", "'exponential'", "'none', 'linear' or 'cosine'")),
        ("train.generator.channels=12", ("train.generator.channels", "12", "multiple of 8")),
        ("train.discriminator.receptive_field=71", ("train.discriminator.receptive_field", "71", "70")),
        ("train.warmup_images=500000", ("warmup_images (500000)", "images (400000)")),
        ("train.objective.classes_weight=1.0", ("classes_weight must be 0", "generator.output is classes")),
        ("train.objective.classes_uniform=0", ("train.objective.classes_uniform", "greater than 0")),
        ("train.generator.output=lab", ("train.generator.output", "'lab'", "'regression' or 'classes'")),
        ("train.critic_images=200001", ("critic_images (200001)", "together", "images (400000)")),
        ("train.game_decay=fast", ("train.game_decay", "'fast'", "'none', 'linear' or 'cosine'")),
        ("train={critic_images: 16, objective: {adversarial: none}}", ("critic_images must be 0",)),
        (
            "train.objective={adversarial_weighting: gradient, reconstruction_weight: 0.0}",
            ("adversarial_weighting must be loss",),
        ),
        ("train.crop=250", ("crop (250)", "multiple of 2 ** generator.levels (256)")),
        ("train.objective.reconstruction=none", ("warmup_images must be 0",)),
        ("train.crop=512", ("train.crop (512)", "preprocess.size (286)")),
        ("train.objective={adversarial: none, reconstruction: none}", ("cannot both be none",)),
        ("train.validate_every=1500", ("validate_every (1500)", "multiple of log_every (1000)")),
        ("train.select=balance", ("select (balance)", "validate_every above 0")),
        ("train.health.ab_spread=[3, 1]", ("train.health.ab_spread", "the first limit (3)", "the second (1)")),
        ("train.health.patience=0", ("train.health.patience", "greater than or equal to 1")),
        ("train.generator.labels=[day, day]", ("train.generator", "labels (day, day)", "must not repeat")),
        ("train.generator.labels=[2024]", ("train.generator.labels.0", "2024", "string")),
        ("train.generator.labels=['']", ("train.generator.labels.0", "at least 1 character")),
        ("train.generator.labels=day", ("train.generator.labels", "'day'", "tuple")),
        ("preprocess.labels=folders", ("preprocess.labels", "'folders'", "folder|", "csv")),
        ("preprocess.test_percent=0", ("preprocess.test_percent", "1")),
        ("register.rules.l1_ab.direction=sideways", ("register.rules.l1_ab.direction", "'up' or 'down'")),
        ("register.rules.l1_ab.bound=.inf", ("register.rules.l1_ab.bound", "finite")),
        ("register.rules.l1_ab.bound=red", ("register.rules.l1_ab.bound", "'red'", "gray, mean_by_lightness")),
        ("register.rules={beauty: {direction: up, change: 0.1, bound: 1}}", ("register.rules", "beauty is no metric")),
        ("train.seed=18446744073709551616", ("train.seed", "18446744073709551616", "0 and", "9007199254740991")),
        ("train.betas=[0.5, 1]", ("train.betas.1", "greater than or equal to 0 and less than 1")),
        ("register.rules.l1_ab.change=1e9", ("register.rules.l1_ab.change", "-1000000.0 and", "equal to 1000000.0")),
        ("train.seed=010", ("--set train.seed=010", "octal", "decimal")),
        ("train.images=12:30", ("--set train.images=12:30", "sexagesimal", "decimal")),
        ("train.images=1:30.5", ("sexagesimal",)),
        ("train.seed", ("--set train.seed", "key=value")),
        ("=5", ("key=value",)),
        ("train.seed=[", ("--set train.seed=[: not valid YAML: ", "expected the node content")),
        ("train.seed=1e300", ("--set: train.seed is 1000", "...; input should be")),
        ("register.rules.l1_ab.bound=1e300", ("--set: register.rules.l1_ab.bound: 1000", "is no bound")),
        ("train.generator.labels=[no, yes]", ("train.generator.labels.0 is False", "string", "quotes")),
        ("train.seed={a: 1, a: 2}", ("'a' is given twice",)),
        ("train=5", ("train",)),
    ],
)
def test_a_wrong_key_or_value_is_named_in_one_sentence(override: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as raised:
        load_config(PARAMS, (), (override,))
    message = str(raised.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert len(message) < 600


def test_an_error_names_where_the_value_was_given(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("train:\n  crop: 5\n")
    second.write_text("train:\n  seed: 1\n")
    for overrides, source in (((), str(first)), (("train.crop=6",), "--set"), (("train.seed=2",), str(first))):
        with pytest.raises(UserError, match=re.escape(f"{source}: train.crop is ")):
            load_config(PARAMS, (first, second), overrides)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [", "not valid YAML"),
        ("- a\n- b\n", "keys and values"),
        ("train:\n  seed: 1\n  seed: 2\n", "'seed' is given twice"),
        ("train: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("train:\n  seed: -1\n", "train.seed"),
        ("train:\n  seed: 0_10\n", "YAML 1.1 reads 0_10 as octal"),
        ("train:\n  images: 12:30\n", "YAML 1.1 reads 12:30 as sexagesimal"),
    ],
)
def test_an_invalid_recipe_is_named(tmp_path: Path, content: str, words: str) -> None:
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(content)
    with pytest.raises(UserError) as raised:
        load_config(PARAMS, (recipe,))
    assert str(recipe) in str(raised.value)
    assert words in str(raised.value)


def test_numbers_of_yaml_1_1_are_text_in_quotes(tmp_path: Path) -> None:
    recipe = tmp_path / "labels.yaml"
    recipe.write_text("train:\n  seed: 0\n  generator:\n    labels: ['010', '12:30', 0x]\n")
    assert load_config(PARAMS, (recipe,)).train.generator.labels == ("010", "12:30", "0x")


def _numbers(values: Any, key: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{key}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{key}{name}"


@pytest.mark.parametrize("key", _numbers(load_config(PARAMS).sections()))
@pytest.mark.parametrize("value", [1e30, -1e30, "nan"])
def test_every_number_has_a_range(key: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"{key}\b"):
        load_config(PARAMS, (), (f"{key}={'.nan' if value == 'nan' else value}",))


def test_missing_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"binary.yaml"):
        load_config(PARAMS, (tmp_path / "binary.yaml",))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    values = yaml.safe_load(PARAMS.read_text().replace("e-4", "e-04"))
    del values["train"]["generator"]["noise"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"train.generator.noise is missing"):
        load_config(path)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config(PARAMS).train.images = 5  # type: ignore[misc]


@settings(deadline=None, max_examples=25)
@given(
    images=st.integers(1, 10**9),
    rate=st.floats(1e-8, 1),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    decay=st.sampled_from(["none", "linear", "cosine"]),
)
def test_a_section_survives_a_round_trip_through_plain_values(
    images: int, rate: float, betas: tuple[float, float], decay: str
) -> None:
    values = load_config(PARAMS).train.model_dump(mode="json")
    values |= {"images": images, "warmup_images": images // 2, "learning_rate": rate, "betas": betas, "decay": decay}
    config = check(TrainConfig, values, "here")
    assert (config.images, config.learning_rate, config.betas, config.decay) == (images, rate, betas, decay)
    assert check(TrainConfig, config.model_dump(mode="json"), "there") == config
