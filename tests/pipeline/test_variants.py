"""Tests of `--variants`: accepted lists and refused ones."""

import pytest

from model.utils.errors import UserError
from pipeline.variants import Variants


def test_recipes_and_overrides_of_a_variant_apply_after_the_shared_settings():
    variants = Variants.load(
        "benchmarks/trials/damage.yaml,benchmarks/trials/base+train.seed=7", "small", ("train.images=20000",), "l1_ab"
    )
    assert list(variants.configs) == ["benchmarks/trials/damage", "benchmarks/trials/base+train.seed=7"]
    damage, base = variants.configs.values()
    assert (damage.train.damage, base.train.damage, base.train.seed) == (0.5, 0.0, 7)
    assert damage.train.images == base.train.images == 20000
    assert variants.shared.choose.by == "l1_ab"
    assert variants.shared.preprocess.size == 96


@pytest.mark.parametrize(("recipe", "name"), [("small", "small"), ("", "params.yaml")])
def test_a_recipe_without_a_list_is_the_only_variant(recipe: str, name: str):
    variants = Variants.load("", recipe, ("train.images=200000",))
    assert variants.names == name
    assert variants.shared.train.images == 200000


@pytest.mark.parametrize(
    ("listed", "by", "said"),
    [
        ("train.seed=1,train.seed=1", "", "twice"),
        ("small,smal", "", "no recipe smal "),
        ("train.seed=1,train.sed=2", "", "train.sed"),
        ("small,best", "", r"preprocess\.\w+ is .* in small and .* in best"),
        ("train.seed=1,evaluate.samples=3", "", r"evaluate.samples is 10 in train.seed=1 and 3 in evaluate.samples=3"),
        ("train.seed=1,train.seed=2", "colorfulness", "choose.by: colorfulness"),
    ],
)
def test_variants_that_cannot_be_compared_are_refused(listed: str, by: str, said: str):
    with pytest.raises(UserError, match=said):
        Variants.load(listed, "", (), by)
