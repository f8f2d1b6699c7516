"""Tests of the start of a training: a configuration that does not fit the dataset is refused."""

import contextlib
from pathlib import Path

import pytest
import torch

from model.data.shards import Shards
from model.inference.saved import save_generator
from model.training import loop as training
from model.training.distributed import ProcessGroup
from model.training.loop import train
from model.training.start import new_generator, trained_generator
from model.utils.errors import UserError
from tests.support.tiny import tiny_config, tiny_dataset

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards.open(tiny_dataset(tmp_path_factory.mktemp("tiny")), "train")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("crop=24",), "train.crop is 24 and train.zoom 1, but the dataset's photographs have 20 pixels"),
        (
            ("discriminator.receptive_field=70",),
            "with a receptive field of 70 needs at least 24 pixels",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_the_dataset_is_refused(
    tmp_path: Path, overrides: tuple[str, ...], words: str
) -> None:
    small = Shards.open(tiny_dataset(tmp_path / "data", size=20), "train")
    with pytest.raises(UserError, match=words):
        train(tiny_config(*overrides), small, tmp_path / "run", {})


def test_a_batch_size_indivisible_by_the_processes_is_refused(
    tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = contextlib.nullcontext(ProcessGroup(rank=0, count=3, device=torch.device("cpu")))
    monkeypatch.setattr(training, "join_processes", lambda: three)
    with pytest.raises(UserError, match=r"train\.batch_size is 8; it must be a multiple of the 3 processes"):
        train(tiny_config(), shards, tmp_path, {})


def test_an_empty_dataset_is_refused(tmp_path: Path) -> None:
    empty = Shards.open(tiny_dataset(tmp_path / "data", train=0), "train")
    with pytest.raises(UserError, match="no photographs for training"):
        train(tiny_config(), empty, tmp_path / "run", {})


def test_a_trained_generator_can_be_given_hints_and_colors_as_before(tmp_path: Path) -> None:
    save_generator(tmp_path, new_generator(tiny_config()), crop=16, size=24, images=64)
    before, after = (trained_generator(tiny_config(*more), tmp_path) for more in ((), ("generator.hints=true",)))
    L, z = torch.rand(1, 1, 16, 16), torch.randn(1, 8)
    with torch.no_grad():
        assert torch.equal(after(L, z, hints=torch.ones(1, 3, 16, 16)), before(L, z))
    assert after.config.hints
    save_generator(tmp_path, after, crop=16, size=24, images=64)
    with pytest.raises(UserError, match="hints: True -> False"):
        trained_generator(tiny_config(), tmp_path)
