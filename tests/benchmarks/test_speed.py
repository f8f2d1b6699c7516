"""Tests of the benchmarks' parts at tiny sizes: they run and measure what they name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import photo, preprocess, reading, speed, tools, train_step
from benchmarks.serving.main import mosaic
from model.data.shards import Shards
from model.inference.colorizer import Colorizer
from tests.model.inference.test_colorizer import generator_folder
from tests.support.tiny import tiny_config, tiny_dataset


@pytest.fixture(autouse=True)
def float32_products():
    yield
    torch.set_float32_matmul_precision("highest")


def test_timed_variants_alternate():
    called: list[str] = []
    ways = {name: lambda name=name: called.append(name) for name in "ab"}
    assert [len(times.wall) for times in tools.in_turns(ways, rounds=2).values()] == [2, 2]
    assert called == list("ababab")
    assert tools.speedup([2.0, 8.0, 3.0], [1.0, 2.0, 1.0]) == 3


@pytest.mark.parametrize("block", [1, 2])
def test_reading_is_timed_equally_often_with_both_variants(tmp_path: Path, block: int):
    shards = Shards.open(tiny_dataset(tmp_path), "train")
    fixed, read = reading.compare(tiny_config(), shards, rounds=2, block=block)
    assert len(fixed) == len(read) == 2


def test_the_plain_and_our_training_step_run_and_report_their_time_shares(tmp_path: Path, photos: Path):
    config = train_step.pix2pix(
        32, "train.generator.channels=8", "train.discriminator.channels=8", "train.discriminator.receptive_field=16"
    )
    shards = Shards.open(tiny_dataset(tmp_path, size=config.preprocess.size), "train")
    paths = sorted((photos / "scratch").glob("*.jpg"))[:4]
    for way in (train_step.plain(config, paths), train_step.ours(config.train, shards)):
        way()
        spent = train_step.shares(way)
        assert spent["convolutions"] > 0
        assert sum(spent.values()) == pytest.approx(1, abs=0.05)
    L, ab = train_step.Photographs(paths, 36, 32)[0]
    assert (L.shape, ab.shape) == ((1, 32, 32), (2, 32, 32))
    assert -1 <= L.min() <= L.max() <= 1.001
    assert ab.abs().max() < 1


@pytest.mark.parametrize("setting", train_step.SETTINGS[:3], ids=lambda setting: setting.name)
def test_gpu_settings_also_train_on_a_cpu(setting: train_step.Setting):
    step = train_step.training_step(tiny_config(), setting, train_step.batch(tiny_config()))
    losses = [float(step()["reconstruction"]) for _ in range(12)]
    assert losses[-1] < losses[0]


def test_counted_operations_are_proportional_to_the_batch_size():
    flop = train_step.operations(tiny_config("batch_size=4"))
    assert flop > 1e6
    assert train_step.operations(tiny_config("batch_size=8")) == pytest.approx(2 * flop, rel=0.05)


def test_the_table_shows_new_figures_beside_the_committed_ones():
    rows = speed.table({"a": {"x": 2.0, "y": 1.0}, "b": {"z": 3.5}}, {"a": {"x": 2.5, "z": 4.0}, "b": {}}).splitlines()
    assert [row.split() for row in rows[1:]] == [
        ["a", "x", "2", "2.5"],
        ["a", "y", "1", "-"],
        ["a", "z", "-", "4"],
        ["b", "z", "3.5", "-"],
    ]


def test_the_plain_script_and_the_step_both_preprocess_the_photographs(tmp_path: Path, photos: Path):
    few = tmp_path / "photos"
    few.mkdir()
    for file in sorted((photos / "scratch").glob("*.jpg"))[:20]:
        (few / file.name).write_bytes(file.read_bytes())
    for way in (preprocess.plain, preprocess.step, preprocess.decoding):
        way(few, tmp_path / way.__name__, 64)
    assert np.load(tmp_path / "plain.npy").shape == (20, 3, 64, 64)
    assert (tmp_path / "step" / "dataset.json").is_file()


def test_a_folder_and_the_model_alone_color_the_same_photographs(tmp_path: Path, photos: Path):
    champion = generator_folder(tmp_path / "generator")
    parts = photo.album(photos / "scratch", tmp_path / "album", 5)
    assert [len(list(part.iterdir())) for part in parts] == [3, 2]
    colorizer = Colorizer.load(champion)
    seconds = photo.in_turns(colorizer, champion, parts[1], tmp_path / "colored")
    assert min(seconds["alone"], seconds["folder"]) > 0
    assert len(list((tmp_path / "colored").glob("*-colorized.*"))) == 2
    spent = photo.stages(colorizer, sorted(parts[1].iterdir()), tmp_path / "one")
    assert list(spent) == ["decode", "checksum", "color", "encode", "write"]


def test_a_mosaic_has_the_given_size_and_the_detail_of_photographs(photos: Path):
    picture = mosaic(photos, (1152, 864))
    assert picture.size == (1152, 864)
    assert len(set(picture.crop((1000, 700, 1152, 864)).getdata())) > 1000
