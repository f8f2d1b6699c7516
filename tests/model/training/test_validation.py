"""Tests of validation: it equals evaluation and does not affect the training."""

import math
from pathlib import Path

import pytest
import torch

from components.evaluate.accumulate import MetricAccumulator, measure
from components.evaluate.candidates import GeneratorCandidate
from components.evaluate.features import FeatureNetworks
from model.color import decode_lab
from model.data.shards import Shards
from model.networks.generator import Generator
from model.training.distributed import ProcessGroup
from model.training.loop import train
from model.training.validation import FIGURES, Validation
from model.utils.errors import UserError
from tests.support.tiny import tiny_config, tiny_dataset
from tests.support.trainings import history, same

ALONE = ProcessGroup(rank=0, count=1, device=torch.device("cpu"))
GAME = ("images=96", "validate_every=16", "learning_rate=0.005")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"), val=19)


@pytest.fixture(scope="module")
def shards(dataset: Path) -> Shards:
    return Shards.open(dataset, "train")


def test_validation_equals_evaluation(dataset: Path) -> None:
    val = Shards.open(dataset, "val")
    torch.manual_seed(0)
    generator = Generator(tiny_config("generator.noise=none").generator).eval()
    torch.nn.init.normal_(generator.to_ab[0].weight, 0, 0.3)  # colors, some out of gamut
    stored, bare = torch.from_numpy(val[:]), FeatureNetworks((), None, {}, {})
    truth, accumulator, seen = MetricAccumulator(), MetricAccumulator(), measure(decode_lab(stored), bare)
    truth.add_truth(seen)
    candidate = GeneratorCandidate(generator, val, 2, 0)
    accumulator.add(seen, stored[:, :1], candidate(stored[:, :1], range(len(val))), bare)
    scores = accumulator.scores(truth, ())
    assert scores["l1_ab"] > 1
    measured = Validation(val, ALONE)(generator)
    assert tuple(measured) == FIGURES
    assert list(measured.values()) == pytest.approx(
        [scores["l1_ab"], scores["delta_colorfulness"], scores["ab_intersection"]], rel=1e-4
    )


@pytest.mark.parametrize("noise", ["gaussian", "dropout"])
def test_validation_is_repeatable_and_keeps_the_random_state(dataset: Path, noise: str) -> None:
    generator = Generator(tiny_config(f"generator.noise={noise}").generator).eval()
    validate = Validation(Shards.open(dataset, "val"), ALONE)
    first, state = validate(generator), torch.get_rng_state()
    torch.randn(7)
    torch.set_rng_state(state)
    assert validate(generator) == first
    assert torch.equal(torch.get_rng_state(), state)


def test_a_non_finite_coloring_gives_nan_metrics(dataset: Path) -> None:
    generator = Generator(tiny_config().generator).eval()
    torch.nn.init.constant_(generator.to_ab[0].bias, math.nan)
    assert all(math.isnan(value) for value in Validation(Shards.open(dataset, "val"), ALONE)(generator).values())


@pytest.mark.parametrize(
    "overrides",
    [(), ("generator.noise=dropout", "generator.norm=batch", "discriminator.norm=batch", "ema_half_life=0")],
    ids=["default", "dropout, batch norm, no average"],
)
def test_validation_does_not_affect_the_training(tmp_path: Path, shards: Shards, overrides: tuple[str, ...]) -> None:
    without = train(tiny_config(*overrides), shards, tmp_path / "without", {})
    measured = train(tiny_config("validate_every=16", *overrides), shards, tmp_path / "with", {})
    assert same(without.generator, measured.generator)
    assert without.snapshot is measured.snapshot is None
    rows = history(tmp_path / "with")
    assert all(set(FIGURES) <= row.keys() for row in rows)
    assert [{name: row[name] for name in row if name not in FIGURES} for row in rows] == history(tmp_path / "without")


def test_rows_hold_validation_metrics_when_due_and_at_the_end(tmp_path: Path, shards: Shards) -> None:
    train(tiny_config("validate_every=48", "images=80"), shards, tmp_path, {})
    assert [row["images"] for row in history(tmp_path) if FIGURES[0] in row] == [48, 80]


def test_a_dataset_without_validation_photographs_is_refused(tmp_path: Path) -> None:
    only = Shards.open(tiny_dataset(tmp_path / "data", val=0), "train")
    with pytest.raises(UserError, match=r"train\.validate_every needs photographs for validation and .*data has none"):
        train(tiny_config("validate_every=16"), only, tmp_path / "run", {})
    train(tiny_config("images=8", "warmup_images=8"), only, tmp_path / "run", {})
