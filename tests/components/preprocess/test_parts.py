"""Tests of preprocess in partitions: their number and order do not change a byte of the dataset."""

import hashlib
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import pytest
from PIL import Image

from components.preprocess import prepare as part
from components.preprocess import worker
from components.preprocess.color_table import color_table
from components.preprocess.config import PreprocessConfig
from components.preprocess.merge import merge
from components.preprocess.partition import partition
from components.preprocess.prepare import prepare_part
from components.preprocess.step import preprocess
from components.preprocess.store import Store
from tests.components.preprocess.test_step import CONFIG

COLORS = cache(partial(color_table, 2))
LABELED = CONFIG.model_copy(update={"labels": "about/labels.csv"})


@pytest.fixture(autouse=True, scope="module")
def _one_color_table() -> Iterator[None]:
    """Shares one color table among all partitions of these tests; building one takes a second."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(part, "color_table", lambda workers: COLORS())
        yield


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """Returns photographs in folders, with duplicates far apart, rejected files, sources and labels."""
    album = tmp_path_factory.mktemp("album")
    good = sorted((photos / "scratch").glob("*.jpg"))[:16]
    for place, path in enumerate(good):
        folder = album / "abc"[place % 3]
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder)
    for place in range(3):
        shutil.copy(good[place], album / f"zz-{place}.jpg")
    picture = Image.open(good[5]).convert("RGB")
    picture.save(album / "resaved.jpg", quality=70)
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(album / "mirrored.png")
    picture.convert("L").save(album / "gray.jpg")
    (album / "fake.jpg").write_text("no photograph", encoding="utf-8")
    (album / ".hidden.jpg").write_text("of no interest", encoding="utf-8")
    (album / "SOURCES.csv").write_text("file,licence\nzz-0.jpg,CC0-1.0\n", encoding="utf-8")
    (album / "about").mkdir()
    (album / "about" / "labels.csv").write_text(f"file,label\na/{good[0].name},sea\nzz-1.jpg,hill\n", encoding="utf-8")
    return album


@pytest.fixture(scope="module")
def whole(album: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    dataset = tmp_path_factory.mktemp("whole") / "dataset"
    preprocess(album, dataset, LABELED, data_version="abc.dir", workers=2)
    return held(dataset)


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def in_parts(
    photos: Path | str, folder: Path, partitions: int, config: PreprocessConfig = LABELED, version: str = "abc.dir",
    store: Store | None = None,
) -> dict[str, bytes]:  # fmt: skip
    """Returns the dataset made from so many partitions, prepared in a shuffled order."""
    listed, dataset = folder / "listing", folder / "dataset"
    count = partition(photos, listed, config, data_version=version, partitions=partitions, store=store)
    numbers = list(range(count))
    random.Random(partitions).shuffle(numbers)
    for number in numbers:
        prepare_part(photos, listed, number, folder / str(number), config, store=store, workers=1)
    parts = [folder / str(number) for number in range(count)]
    merge(listed, parts, dataset, config, photos=str(photos), data_version=version)
    return held(dataset)


@pytest.mark.parametrize("partitions", [1, 3, 7])
def test_any_number_of_partitions_makes_the_same_bytes(
    album: Path, whole: dict[str, bytes], tmp_path: Path, partitions: int
):
    assert in_parts(album, tmp_path, partitions) == whole
    assert len(list((tmp_path / "listing").glob("*.jsonl"))) == partitions
    assert {"SOURCES.csv", "dataset.json", "manifest.parquet"} < whole.keys()


def test_the_number_of_partitions_is_at_most_the_number_of_files(album: Path, tmp_path: Path):
    files = [path for path in album.rglob("[!.]*") if path.is_file()]
    assert partition(album, tmp_path / "listing", LABELED, data_version="", partitions=10_000) == len(files)
    assert len(list((tmp_path / "listing").glob("*.jsonl"))) == len(files)
    (tmp_path / "none").mkdir()
    assert partition(tmp_path / "none", tmp_path / "listing", CONFIG, data_version="", partitions=3) == 1


def test_a_failed_partition_can_be_retried(
    album: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    listed, parts = tmp_path / "listing", [tmp_path / str(number) for number in range(3)]
    partition(album, listed, LABELED, data_version="abc.dir", partitions=3)
    for number in (2, 0):
        prepare_part(album, listed, number, parts[number], LABELED, workers=1)
    with monkeypatch.context() as patched:
        patched.setattr(worker, "perceptual_hashes", lambda gray: 1 / 0)  # after some of its pixels are written
        with pytest.raises(ZeroDivisionError):
            prepare_part(album, listed, 1, parts[1], LABELED, workers=1)
    assert not parts[1].exists()
    prepare_part(album, listed, 1, parts[1], LABELED, workers=1)
    merge(listed, parts, tmp_path / "dataset", LABELED, photos=str(album), data_version="abc.dir")
    assert held(tmp_path / "dataset") == whole


def store(folder: Path, **changes: object) -> Store:
    return Store(folder / "store", CONFIG.model_copy(update=changes), "the code")


def decoding_only(monkeypatch: pytest.MonkeyPatch, *allowed: Path) -> None:
    """Makes decoding any other photograph an error."""
    contents, decode = {path.read_bytes() for path in allowed}, worker.decode

    def guarded(content: bytes, min_side: int) -> object:
        if content not in contents:
            raise AssertionError("decoded once more")
        return decode(content, min_side=min_side)

    monkeypatch.setattr(worker, "decode", guarded)


@pytest.mark.parametrize("seed", range(3))
def test_a_larger_set_gives_the_same_dataset_and_decodes_only_new_files(
    album: Path, whole: dict[str, bytes], tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    """Adds drawn files last and checks that nothing else is decoded then."""
    drawn = random.Random(seed)
    photographs = sorted(path for path in album.rglob("[!.]*") if path.suffix in (".jpg", ".png"))
    added = drawn.sample(photographs, drawn.randint(1, 6))
    fewer = tmp_path / "fewer"
    shutil.copytree(album, fewer)
    for path in added:
        (fewer / path.relative_to(album)).unlink()
    plain = CONFIG.model_copy(update={"min_photographs": 1})
    in_parts(fewer, tmp_path / "before", drawn.randint(1, 4), plain, store=store(tmp_path))
    decoding_only(monkeypatch, *added)
    capsys.readouterr()
    found = in_parts(album, tmp_path / "after", 1, store=store(tmp_path))
    assert found == whole
    old = {path.read_bytes() for path in photographs if path not in added}
    new = sum(path.read_bytes() not in old for path in added)
    assert f"{len(photographs)} photographs: {len(photographs) - new} known, {new} new\n" in capsys.readouterr().out


def test_damaged_entries_of_the_store_are_written_again(
    album: Path, whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    in_parts(album, tmp_path / "one", 1, store=store(tmp_path))
    flipped, cut, empty, *_ = sorted((tmp_path / "store").rglob("*/*/*"))
    content = bytearray(flipped.read_bytes())
    content[-1] ^= 1
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-100])
    empty.write_bytes(b"")
    capsys.readouterr()
    assert in_parts(album, tmp_path / "two", 1, store=store(tmp_path)) == whole
    assert hashlib.sha256(flipped.read_bytes()[32:]).digest() == flipped.read_bytes()[:32]
    assert " known, 0 new" not in capsys.readouterr().out
    assert in_parts(album, tmp_path / "three", 1, store=store(tmp_path)) == whole
    assert " known, 0 new" in capsys.readouterr().out


def test_the_key_of_a_stored_entry_includes_the_thresholds(
    album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    in_parts(album, tmp_path / "one", 1, store=store(tmp_path))
    strict = LABELED.model_copy(update={"min_chroma": 6.0, "min_photographs": 1})
    preprocess(album, tmp_path / "expected", strict, data_version="abc.dir", workers=1)
    capsys.readouterr()
    assert in_parts(album, tmp_path / "two", 2, strict, store=store(tmp_path, min_chroma=6.0)) == held(
        tmp_path / "expected"
    )
    assert "0 known" in capsys.readouterr().out


def test_trimming_keeps_the_most_recently_used_entries(album: Path, tmp_path: Path):
    in_parts(album, tmp_path / "one", 1, store=store(tmp_path))
    entries = len(list((tmp_path / "store").rglob("*/*/*")))
    store(tmp_path).trim(entries)
    assert len(list((tmp_path / "store").rglob("*/*/*"))) == entries
    store(tmp_path).trim(3)
    assert len(list((tmp_path / "store").rglob("*/*/*"))) == 5  # as many as fit into the pixels of twice three


def test_two_simultaneous_runs_share_a_store(album: Path, whole: dict[str, bytes], tmp_path: Path):
    with ThreadPoolExecutor(2) as runs:
        found = list(runs.map(lambda name: in_parts(album, tmp_path / name, 2, store=store(tmp_path)), "ab"))
    assert found == [whole, whole]
    assert not [path for path in (tmp_path / "store").rglob("*/*/*") if path.name.startswith("tmp")]
