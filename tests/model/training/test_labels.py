"""Tests of labels in training, on a made dataset whose right colors depend on the label alone."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.color import AB_SCALE, encode_lab, srgb_to_lab
from model.data.format import Row
from model.data.images import decode
from model.data.shards import Shards
from model.data.writer import write_dataset
from model.inference.predict import predict_ab
from model.inference.saved import load_generator, save_generator
from model.networks.generator import Generator
from model.training.checkpoint import checkpoints
from model.training.loop import train
from model.utils.errors import UserError
from tests.support.tiny import tiny_config, tiny_dataset

SIZE = 32
TINTS = {"dusk": (12.0, 28.0), "night": (4.0, -28.0)}
"""Values of a and b at middle lightness, by label."""
LABELS = f"generator.labels=[{', '.join(TINTS)}]"


pytestmark = pytest.mark.usefixtures("one_thread")


def tinted(lightness: Tensor, label: str) -> Tensor:
    """Tints (1, S, S) L to (3, S, S) LAB: warm or cool, most at middle lightness."""
    strength = 1 - (lightness / 50 - 1).square()
    return torch.cat((lightness, *(value * strength for value in TINTS[label])))


@pytest.fixture(scope="module")
def made(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a dataset of real photographs, each tinted warm (dusk) and cool (night); a quarter is for testing."""
    labs, rows = {}, []
    for place, path in enumerate(sorted((photos / "scratch").glob("*.jpg"))[:40]):
        rgb = torch.tensor(decode(path).rgb).permute(2, 0, 1)[None].float() / 255
        lightness = srgb_to_lab(F.interpolate(rgb, (SIZE, SIZE), mode="area"))[0, :1]
        for label in TINTS:
            stored = encode_lab(tinted(lightness, label)).numpy()
            name = hashlib.sha256(stored.tobytes()).hexdigest()
            labs[name] = stored
            split = "train" if place % 4 else "test"
            rows.append(Row(f"{label}/{path.name}", name, SIZE, SIZE, split, "kept", "", label))
    folder = tmp_path_factory.mktemp("made")
    write_dataset(folder, rows, labs.__getitem__, size=SIZE, data_version="0" * 32)
    return folder


@pytest.fixture(scope="module")
def learnt(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    config = tiny_config(
        LABELS,
        "crop=32",
        "images=1280",
        "warmup_images=960",
        "learning_rate=0.004",
        "ema_half_life=200",
        "checkpoint_every=1280",
        "log_every=800",
        size=SIZE,
    )
    folder = tmp_path_factory.mktemp("learnt")
    return train(config, Shards.open(made, "train"), folder, {}).generator


def test_the_label_decides_the_color_of_unseen_photographs(made: Path, learnt: Generator) -> None:
    test = Shards.open(made, "test")
    stored = torch.from_numpy(test[:])
    L, truth = stored[:, :1].float() / 127.5 - 1, stored[:, 1:].float() - 128
    z = torch.randn(len(test), learnt.config.noise_size, generator=torch.Generator().manual_seed(0))
    own = torch.from_numpy(test.label_indices(learnt.config.labels))
    right, wrong, without = (predict_ab(learnt, L, z, y) * AB_SCALE for y in (own, 1 - own, None))
    errors = [(ab - truth).abs().mean().item() for ab in (right, wrong, without)]
    assert errors[0] < 0.4 * errors[2] < 0.4 * errors[1], errors
    b = {name: right[own == place][:, 1].mean().item() for place, name in enumerate(learnt.config.labels)}
    assert b["dusk"] > 10
    assert b["night"] < -10


def test_a_saved_generator_keeps_its_labels(learnt: Generator, tmp_path: Path) -> None:
    save_generator(tmp_path, learnt, crop=32, size=SIZE, images=1)
    assert load_generator(tmp_path)[0].config.labels == tuple(TINTS)


def test_a_generator_saved_before_labels_existed_is_loaded(tmp_path: Path) -> None:
    save_generator(tmp_path, Generator(tiny_config().generator), crop=16, size=24, images=1)
    description = json.loads((tmp_path / "generator.json").read_text())
    del description["generator"]["labels"]
    (tmp_path / "generator.json").write_text(json.dumps(description))
    assert load_generator(tmp_path)[0].config.labels == ()


@pytest.mark.parametrize("given", [("day", "night"), (None,)])
def test_generator_labels_missing_from_the_photographs_are_named(tmp_path: Path, given: tuple[str | None, ...]) -> None:
    few = Shards.open(tiny_dataset(tmp_path / "data", train=4, labels=given), "train")
    known = "day, night" if given[0] else "none at all: see preprocess.labels"
    with pytest.raises(UserError, match=f"labels names noon, but the labels of .* for training are {known}"):
        train(
            tiny_config("generator.labels=[noon]" if not given[0] else "generator.labels=[day, noon]"),
            few,
            tmp_path,
            {},
        )


def test_labels_of_photographs_do_not_affect_a_generator_without_labels(tmp_path: Path) -> None:
    weights = []
    for name, labels in (("with", ("day", None)), ("without", (None,))):
        few = Shards.open(tiny_dataset(tmp_path / name, train=9, labels=labels), "train")
        trained = train(tiny_config("images=48", "warmup_images=16"), few, tmp_path / f"{name}-run", {})
        weights.append(trained.generator.state_dict())
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert weights[0].keys() == weights[1].keys()


def test_a_training_with_labels_resumes_bit_for_bit(tmp_path: Path, made: Path) -> None:
    config = tiny_config(LABELS, "crop=32", "discriminator.norm=spectral", "images=64", "warmup_images=16", size=SIZE)
    few = Shards.open(made, "train")
    whole = train(config, few, tmp_path / "whole", {}).generator.state_dict()
    newest, older = checkpoints(tmp_path / "whole")[:2]
    newest.unlink()
    assert older.exists()
    resumed = train(config, few, tmp_path / "whole", {}).generator.state_dict()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
