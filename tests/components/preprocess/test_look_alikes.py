"""Tests of look-alikes over data versions: a group keeps the split of its first member."""

import hashlib
import random
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.preprocess.crops import crop_hashes, hashes_of
from components.preprocess.duplicates import perceptual_hashes
from components.preprocess.look_alikes import LookAlikes, Member
from components.preprocess.merge import split_of
from components.preprocess.split_record import SplitRecord
from components.preprocess.step import preprocess
from components.preprocess.store import Store
from model.utils.errors import UserError
from tests.components.preprocess.test_parts import _one_color_table
from tests.components.preprocess.test_step import CONFIG

__all__ = ["_one_color_table"]

# Half of the hashes say test, so that a split by a copy's own hash would differ from its original's every other time.
EVEN = CONFIG.model_copy(update={"size": 96, "min_photographs": 1, "test_percent": 50, "val_percent": 0})
SPLIT_OF = partial(split_of, config=EVEN)


def splits(photos: Path, place: Path) -> dict[str, str]:
    """Returns the split of each kept photograph; runs of one place share its record."""
    dataset = place / f"dataset-{photos.name}"
    preprocess(photos, dataset, EVEN, data_version="", workers=1, store=Store(place, EVEN, "the code"))
    rows = pq.read_table(dataset / "manifest.parquet").to_pylist()
    return {row["path"]: row["split"] for row in rows if row["status"] == "kept"}


def original(name: str) -> str:
    return Path(name).stem.partition("~")[0]


@pytest.fixture(scope="module")
def originals(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album") / "first"
    folder.mkdir()
    for path in sorted((photos / "scratch").glob("*.jpg"))[:12]:
        shutil.copy(path, folder / path.name)
    return folder


@pytest.fixture(scope="module")
def copies(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a re-saved copy, a mirrored copy and crops of every original."""
    folder = tmp_path_factory.mktemp("album") / "copies"
    folder.mkdir()
    for path in originals.iterdir():
        with Image.open(path) as image:
            picture = image.convert("RGB")
        picture.save(folder / f"{path.stem}~resaved.jpg", quality=60)
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"{path.stem}~mirrored.jpg", quality=90)
        for percent in (2, 6, 12):
            left, top = (round(side * percent / 200) for side in picture.size)
            inside = picture.crop((left, top, picture.width - left, picture.height - top))
            inside.save(folder / f"{path.stem}~cropped{percent}.png")
    return folder


def test_look_alikes_keep_the_split_of_the_first_one_over_data_versions(originals: Path, copies: Path, tmp_path: Path):
    first = splits(originals, tmp_path)
    of_original = {original(name): split for name, split in first.items()}
    assert set(first.values()) == {"train", "test"}

    second = tmp_path / "second"
    shutil.copytree(originals, second)
    shutil.copytree(copies, second, dirs_exist_ok=True)
    found = splits(second, tmp_path)
    assert {name: found[name] for name in first} == first
    assert len(found) < len(first) * 4, "copies are near-duplicates of photographs that stay; larger crops are kept"
    assert all(split == of_original[original(name)] for name, split in found.items())

    third = tmp_path / "third"  # every original is removed
    shutil.copytree(copies, third)
    found = splits(third, tmp_path)
    assert {name: of_original[original(name)] for name in found} == found
    own = {name: SPLIT_OF(hashlib.sha256((third / name).read_bytes()).hexdigest()) for name in found}
    assert own != found, "the copies' own hashes would have moved some"

    fourth = tmp_path / "fourth"  # other copies of the removed originals, saved from copies
    fourth.mkdir()
    for name in found:
        with Image.open(third / name) as image:
            image.convert("RGB").save(fourth / f"{Path(name).stem}~again.jpg", quality=75)
    again = splits(fourth, tmp_path)
    assert {name: of_original[original(name)] for name in again} == again


def test_a_data_version_gives_the_same_dataset_again(originals: Path, copies: Path, tmp_path: Path):
    """A second attempt, and a run of an older version after a newer one, find the record of their own photographs."""
    both = tmp_path / "both"
    shutil.copytree(originals, both)
    shutil.copytree(copies, both, dirs_exist_ok=True)
    before = splits(copies, tmp_path)
    manifest = (tmp_path / "dataset-copies" / "manifest.parquet").read_bytes()
    splits(both, tmp_path)
    assert splits(copies, tmp_path) == before
    assert (tmp_path / "dataset-copies" / "manifest.parquet").read_bytes() == manifest


def test_without_a_record_the_smallest_hash_decides(originals: Path, tmp_path: Path):
    found = splits(originals, tmp_path)
    own = {name: hashlib.sha256((originals / name).read_bytes()).hexdigest() for name in found}
    assert {name: SPLIT_OF(sha256) for name, sha256 in own.items()} == found


def test_a_damaged_record_is_an_error(originals: Path, tmp_path: Path):
    splits(originals, tmp_path)
    (entry,) = (tmp_path / "splits").iterdir()
    entry.write_bytes(entry.read_bytes()[:-9])
    (tmp_path / "splits" / "notes.txt").write_text("of no interest", encoding="utf-8")
    with pytest.raises(UserError, match=rf"splits/{entry.name} is damaged: .*restore it from a backup"):
        SplitRecord(tmp_path).read()


def test_the_hashes_of_inner_squares_are_those_of_crops(originals: Path):
    for path in originals.iterdir():
        with Image.open(path) as image:
            gray = image.convert("L").resize((200, 200))
        crop = gray.crop((20, 10, 200, 190))  # nine tenths: at the right, half way up
        found = np.bitwise_count(
            hashes_of(crop_hashes(np.asarray(gray))) ^ np.uint64(perceptual_hashes(np.asarray(crop))[0])
        )
        assert found.argmin() == 14, path
        assert found[14] <= 4


BITS = 3


def photograph(number: int, value: int) -> Member:
    """Returns a photograph with few perceptual hashes about, so that many look alike."""
    return Member(hashlib.sha256(str(number).encode()).hexdigest(), value, value)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_no_new_test_photograph_looks_like_one_of_training(seed: int, versions: int):
    drawn = random.Random(seed)
    everything = [photograph(drawn.randrange(10**9), drawn.randrange(256)) for _ in range(60)]
    look_alikes = LookAlikes(BITS, SPLIT_OF)
    recorded: list[Member] = []
    trained: list[Member] = []
    for _ in range(versions):
        present = drawn.sample(everything, 20)
        like = look_alikes.kept(present, recorded)
        new = look_alikes.grouped(present, recorded, like)
        assert {member.sha256 for member in new} == {each.sha256 for each in present} - {
            each.sha256 for each in recorded
        }
        recorded = [*recorded, *new]
        first = {member.sha256: member.first for member in recorded}
        kept = [each for each in present if like[each.sha256] == each.sha256]
        hashes = np.array([each.hash for each in kept])
        distances = np.bitwise_count(hashes[:, None] ^ hashes)
        assert (distances[~np.eye(len(kept), dtype=bool)] > BITS).all()
        trained += [each for each in kept if SPLIT_OF(first[each.sha256]) == "train"]
        for member in new:
            if SPLIT_OF(member.first) == "test":
                assert all((member.hash ^ each.hash).bit_count() > BITS for each in trained)


def test_new_photographs_that_share_a_look_alike_share_a_split():
    """Cuts a chain of crops: the ends do not look alike, the middle one looks like both."""
    chains = [[photograph(3 * number + place, (1 << BITS * place) - 1) for place in range(3)] for number in range(40)]
    look_alikes = LookAlikes(BITS, SPLIT_OF)
    for chain in chains:
        kept = look_alikes.kept(chain, [])
        assert len({SPLIT_OF(member.first) for member in look_alikes.grouped(chain, [], kept)}) == 1
