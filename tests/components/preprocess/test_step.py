"""Tests of preprocess on real photographs: kept and rejected files, reasons, and repeatable bytes."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import imagehash
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from components.preprocess.color_table import color_table, look_up
from components.preprocess.config import PreprocessConfig
from components.preprocess.duplicates import near_duplicates, perceptual_hashes
from components.preprocess.merge import split_of
from components.preprocess.prepared import Pixels
from components.preprocess.step import preprocess
from components.preprocess.worker import Task, prepare
from model import color
from model.data.format import verify
from model.data.shards import Shards
from model.utils.errors import UserError
from pipeline import ROOT
from pipeline.config import load_config
from tests.support.bombs import BOMBS
from tests.support.command import COLORIZE, environment

CONFIG = load_config(
    ROOT / "params.yaml", (), ("preprocess.size=32", "train.crop=32", "train.generator.levels=3",
                               "preprocess.min_photographs=5")
).preprocess  # fmt: skip


def config(**changes: object) -> PreprocessConfig:
    return CONFIG.model_copy(update=changes)


def fates(dataset: Path) -> dict[str, tuple[str, str, str | None]]:
    rows = pq.read_table(dataset / "manifest.parquet").to_pylist()
    return {row["path"]: (row["status"], row["reason"], row["split"]) for row in rows}


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """Returns photographs and one file for each reason to reject or ignore it."""
    album = tmp_path_factory.mktemp("album")
    good = sorted((photos / "scratch").glob("*.jpg"))[:24]
    for path in good:
        shutil.copy(path, album)
    picture = Image.open(good[0]).convert("RGB")
    shutil.copy(good[0], album / "zz-copy.jpg")
    picture.save(album / "zz-resaved.jpg", quality=70)
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(album / "zz-mirrored.png")
    picture.convert("L").save(album / "gray.jpg")
    picture.resize((90, 60)).save(album / "small.png")
    (album / "fake.jpg").write_text("no photograph", encoding="utf-8")
    (album / "short.jpg").write_bytes(good[1].read_bytes()[:3000])
    (album / "notes.txt").write_text("about them", encoding="utf-8")
    return album


@pytest.fixture(scope="module")
def dataset(album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("dataset") / "dataset"
    preprocess(album, output, CONFIG, data_version="abc.dir", workers=2)
    return output


def test_every_file_has_a_status_and_a_reason(album: Path, dataset: Path):
    found = fates(dataset)
    assert found.keys() == {path.name for path in album.iterdir()}
    expected = {"gray.jpg": "colorless", "small.png": "too small", "fake.jpg": "unreadable", "short.jpg": "unreadable"}
    for name, reason in expected.items():
        assert found[name][0] == "rejected", name
        assert found[name][1].startswith(reason), found[name]
    assert found["notes.txt"][0] == "ignored"
    assert "min_chroma is 4" in found["gray.jpg"][1]
    assert "90 x 60" in found["small.png"][1]


def test_one_of_several_near_duplicates_is_kept(album: Path, dataset: Path):
    found = fates(dataset)
    family = [sorted(name for name in found if name.endswith(".jpg") and name[0].isupper())[0]]
    family += ["zz-copy.jpg", "zz-resaved.jpg", "zz-mirrored.png"]
    assert sum(found[name][0] == "kept" for name in family) == 1
    reasons = {found[name][1].partition(":")[0] for name in family if found[name][0] == "rejected"}
    assert reasons == {"duplicate", "near-duplicate"}


def test_shards_hold_the_kept_photographs_scaled_and_in_lab(album: Path, dataset: Path):
    verify(dataset)
    train = Shards.open(dataset, "train")
    kept = sum(status == "kept" for status, _, _ in fates(dataset).values())
    assert kept == sum(len(Shards.open(dataset, split)) for split in ("train", "val", "test"))
    for index in range(3):
        with Image.open(album / train.paths[index]) as image:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
            square = image.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC, box)
        expected = color.encode_lab(color.srgb_to_lab(torch.tensor(np.asarray(square)).permute(2, 0, 1))).numpy()
        assert np.abs(train[[index]][0].astype(int) - expected.astype(int)).mean() < 4


@pytest.fixture(scope="module")
def colors() -> torch.Tensor:
    return color_table(2)


def test_looked_up_colors_equal_converted_colors(colors: torch.Tensor):
    rgbx = torch.randint(256, (300, 200, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    lab = color.srgb_to_lab(rgbx[..., :3].permute(2, 0, 1))
    found, chroma = look_up(rgbx, colors)
    assert torch.equal(found, color.encode_lab(lab))
    assert chroma == pytest.approx(float(lab[1:].norm(dim=0).mean()), abs=0.05)


def test_pictures_above_16_mebibytes_are_scaled_like_others(album: Path, colors: torch.Tensor, tmp_path: Path):
    with Image.open(sorted(album.glob("*.jpg"))[0]) as image:
        large = image.convert("RGB").resize((2600, 1900), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.bmp")
    with tempfile.TemporaryFile() as pixels:
        task = Task(Pixels(pixels.fileno(), CONFIG.size), CONFIG.min_side, CONFIG.min_chroma, colors)
        assert prepare((3, tmp_path / "large.bmp"), task).reason == ""
        lab = task.pixels.read(3)
    square = torch.tensor(np.asarray(large.resize((32, 32), Image.Resampling.BICUBIC, (350, 0, 2250, 1900))))
    expected = color.encode_lab(color.srgb_to_lab(square.permute(2, 0, 1))).numpy()
    assert np.abs(lab.astype(int) - expected.astype(int)).mean() < 1


def test_perceptual_hashes_equal_imagehash(album: Path):
    for path in sorted(album.glob("*.jpg"))[:20]:
        if path.name[0].isupper():
            gray = Image.open(path).convert("L").resize((286, 286))
            small = gray.resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=1)
            expected = [imagehash.phash(picture).hash for picture in (small, ImageOps.mirror(small))]
            found = np.array(perceptual_hashes(np.asarray(gray)), dtype=">u8").view(np.uint8)
            assert np.array_equal(np.unpackbits(found).reshape(2, 8, 8), expected), path.name


def test_the_number_of_workers_and_file_names_do_not_change_the_shards(album: Path, dataset: Path, tmp_path: Path):
    preprocess(album, tmp_path / "one", CONFIG, data_version="abc.dir", workers=1)
    for path in dataset.iterdir():
        assert (tmp_path / "one" / path.name).read_bytes() == path.read_bytes(), path.name
    renamed = tmp_path / "renamed"
    (renamed / "deep" / "er").mkdir(parents=True)
    for number, path in enumerate(sorted(album.iterdir(), reverse=True)):
        shutil.copy(path, renamed / ("deep/er" if number % 2 else ".") / f"{number}{path.suffix}")
    preprocess(renamed, tmp_path / "two", CONFIG, data_version="abc.dir", workers=2)
    for path in dataset.glob("*.npy"):
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_photograph_keeps_its_split_when_others_are_added_or_removed(album: Path, dataset: Path, tmp_path: Path):
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    names = [name for name, (status, _, _) in fates(dataset).items() if status == "kept"]
    for name in names[::2]:
        shutil.copy(album / name, fewer)
    preprocess(fewer, tmp_path / "out", config(min_photographs=1), data_version="", workers=2)
    before, after = fates(dataset), fates(tmp_path / "out")
    assert all(after[name][2] == before[name][2] for name in after)
    for name in names:
        sha256 = hashlib.sha256((album / name).read_bytes()).hexdigest()
        assert before[name][2] == split_of(sha256, CONFIG)


def test_too_few_photographs_are_an_error_with_reasons_and_no_output(album: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"min_photographs asks for 500; rejected: .*2 unreadable"):
        preprocess(album, tmp_path / "out", config(min_photographs=500), data_version="", workers=2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_dataset_is_not_replaced(album: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="choose another folder"):
        preprocess(album, tmp_path, CONFIG, data_version="", workers=1)
    with pytest.raises(UserError, match="is not a folder"):
        preprocess(album / "nowhere", tmp_path / "out", CONFIG, data_version="", workers=1)


def test_an_unreadable_file_is_rejected_alone(album: Path, tmp_path: Path):
    some = tmp_path / "some"
    shutil.copytree(album, some)
    (some / "loop.jpg").symlink_to("loop.jpg")
    preprocess(some, tmp_path / "out", CONFIG, data_version="", workers=2)
    assert fates(tmp_path / "out")["loop.jpg"][1].startswith("unreadable")


def test_links_out_of_the_folder_are_not_opened(album: Path, tmp_path: Path):
    secret, photos = tmp_path / "secret", tmp_path / "photos"
    good = sorted(path for path in album.glob("*.jpg") if path.name[0].isupper())[:12]
    for folder, files in ((secret, good[:1]), (photos, good[1:])):
        folder.mkdir()
        for path in files:
            shutil.copy(path, folder)
    (photos / "link.jpg").symlink_to(secret / good[0].name)
    (photos / "roundabout.jpg").symlink_to(Path("..", "secret", good[0].name))
    (photos / "notes.txt").symlink_to("/dev/zero")
    (photos / "folder").symlink_to(secret)
    (photos / "SOURCES.csv").symlink_to("/etc/passwd")
    (photos / "inside.jpg").symlink_to(good[1].name)
    os.mkfifo(photos / "pipe.jpg")
    os.mkfifo(photos / "pipe.txt")
    (photos / "nowhere.jpg").symlink_to("gone.jpg")
    shutil.copy(good[2], photos / os.fsdecode(b"caf\xe9.jpg"))
    preprocess(photos, tmp_path / "out", config(min_photographs=1), data_version="", workers=1)
    rows = {row["path"]: row for row in pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()}
    names = {path.name for path in photos.iterdir()} - {"folder", os.fsdecode(b"caf\xe9.jpg")}
    assert rows.keys() == names | {"caf\\xe9.jpg"}
    assert not (tmp_path / "out" / "SOURCES.csv").exists()
    for name in ("link.jpg", "roundabout.jpg", "notes.txt", "SOURCES.csv"):
        assert (rows[name]["status"], rows[name]["sha256"]) == ("rejected", "")
        assert rows[name]["reason"] == "outside: a link that leads out of the folder"
    for name in ("pipe.jpg", "pipe.txt"):
        assert rows[name]["reason"] == "unreadable: neither a file nor a link to one"
    assert rows["nowhere.jpg"]["reason"] == "unreadable: a link that leads nowhere"
    assert rows["caf\\xe9.jpg"]["reason"] == "unreadable: a name that is not UTF-8"
    assert rows["inside.jpg"]["reason"].startswith("duplicate")


def test_giant_files_and_decompression_bombs_are_rejected_alone(album: Path, tmp_path: Path):
    photos = tmp_path / "photos"
    shutil.copytree(album, photos)
    with (photos / "giant.jpg").open("wb") as giant:
        giant.write(sorted(album.glob("*.jpg"))[0].read_bytes())
        giant.truncate(1 << 40)
    for name, content in BOMBS.items():
        (photos / name).write_bytes(content)
    preprocess(photos, tmp_path / "out", CONFIG, data_version="", workers=1)
    found = fates(tmp_path / "out")
    assert found["giant.jpg"][1] == f"unreadable: {1 << 40} bytes, more than the limit of {1 << 30}"
    for name in ("pixels.png", "frame.gif"):
        assert found[name][1].startswith("unreadable: "), name
    for name in ("text.png", "profile.png"):  # the text and the profile are passed by
        assert found[name][1].startswith("too small"), name


def test_memory_does_not_grow_with_the_number_of_photographs(album: Path, tmp_path: Path):
    many = tmp_path / "many"
    many.mkdir()
    good = sorted(path for path in album.glob("*.jpg") if path.name[0].isupper())
    for number in range(400):
        (many / f"{number}.jpg").hardlink_to(good[number % len(good)])
    code = (
        "import resource, sys; from pathlib import Path; from components.preprocess.step import preprocess; "
        "from pipeline.config import load_config; "
        "config = load_config(Path('params.yaml')).preprocess.model_copy(update={'min_photographs': 1}); "
        "preprocess(Path(sys.argv[1]), Path(sys.argv[2]), config, data_version=''); "
        "print(*(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))"
    )
    peaks = []
    for folder in (album, many):
        command = [sys.executable, "-c", code, folder, tmp_path / "out"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append([int(kibibytes) for kibibytes in done.stdout.split()[-2:]])
    grown = [(many - few) / 1024 for few, many in zip(*peaks, strict=True)]
    assert max(grown) < 32, "MiB: 400 photographs of 286 x 286 take 94"


def test_the_command_prints_rejections_and_an_error_in_one_line(album: Path, tmp_path: Path):
    command = [*COLORIZE, "step", "preprocess", "--photos", album, "--out", tmp_path / "out"]
    settings_ = ("preprocess.size=32", "train.crop=32", "train.generator.levels=3", "preprocess.min_photographs=5")
    arguments = [part for setting in settings_ for part in ("--set", setting)]
    ours = environment(COLORIZE_WORKSPACE=str(tmp_path))
    done = subprocess.run([*command, *arguments], cwd=ROOT, env=ours, capture_output=True, text=True, check=True)
    assert "rejected 2: unreadable" in done.stdout
    failed = subprocess.run(
        [*command, *arguments, "--set", "preprocess.min_photographs=400"],
        cwd=ROOT, env=ours, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30), st.integers(0, 20), st.data())
def test_no_two_kept_photographs_are_near_duplicates(hashes: list[int], bits: int, data: st.DataObject):
    flips = data.draw(st.lists(st.tuples(st.sampled_from(hashes), st.integers(0, 63)), max_size=20))
    everything = np.array(hashes + [value ^ (1 << bit) for value, bit in flips], dtype=np.uint64)
    kin = near_duplicates(everything, everything, bits)
    kept = np.flatnonzero(kin == np.arange(len(kin)))
    distances = np.bitwise_count(everything[kept, None] ^ everything[kept])
    assert (distances[~np.eye(len(kept), dtype=bool)] > bits).all()
    for index, representative in enumerate(kin):
        assert np.bitwise_count(everything[index] ^ everything[representative]) <= bits


def test_near_duplicates_of_many_hashes_equal_a_pairwise_search():
    drawn = np.random.default_rng(0)
    hashes, mirrored = drawn.integers(0, 2**64, (2, 12_000), dtype=np.uint64)
    copies = hashes[8_000:]
    copies[:] = hashes[drawn.integers(0, 8_000, 4_000)]
    for _ in range(8):
        flipped = np.uint64(1) << drawn.integers(0, 64, 4_000, dtype=np.uint64)
        copies ^= np.where(drawn.random(4_000) < 0.7, flipped, np.uint64(0))
    mirrored[:3_000] = hashes[drawn.integers(0, 12_000, 3_000)]
    order = drawn.permutation(12_000)
    hashes, mirrored = hashes[order], mirrored[order]

    expected = np.arange(12_000)
    for index in range(12_000):
        kept = np.flatnonzero(expected[:index] == np.arange(index))
        distances = np.minimum(
            np.bitwise_count(hashes[index] ^ hashes[kept]), np.bitwise_count(mirrored[index] ^ hashes[kept])
        )
        if (distances <= 6).any():
            expected[index] = kept[(distances <= 6).argmax()]
    assert 3_000 < (expected != np.arange(12_000)).sum() < 9_000
    assert (near_duplicates(hashes, mirrored, 6) == expected).all()
