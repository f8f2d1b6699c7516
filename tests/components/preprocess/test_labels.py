"""Tests of labels by folder and by CSV, and of the errors of a CSV."""

import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.preprocess.config import PreprocessConfig
from components.preprocess.labels import labels_by
from components.preprocess.step import preprocess
from model.data.format import SPLITS
from model.data.shards import Shards
from model.utils.errors import UserError
from tests.components.preprocess.test_step import CONFIG


def config(labels: str) -> PreprocessConfig:
    return CONFIG.model_copy(update={"labels": labels})


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """Returns photographs in nested folders, one of them twice, and one outside any folder."""
    album = tmp_path_factory.mktemp("album")
    files = sorted((photos / "scratch").glob("*.jpg"))[:24]
    for place, path in enumerate(files[:-1]):
        folder = album / ("dusk/2024" if place % 2 else "night")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    shutil.copy(files[-1], album)
    shutil.copy(files[0], album / "dusk" / "zz-copy.jpg")
    return album


def labels(dataset: Path) -> dict[str, str | None]:
    """Returns the labels of kept photographs, as training and evaluation see them."""
    splits = [Shards.open(dataset, split) for split in SPLITS]
    return {path: label for split in splits for path, label in zip(split.paths, split.labels, strict=True)}


def test_the_top_folder_is_the_label(album: Path, tmp_path: Path):
    summary = preprocess(album, tmp_path / "dataset", config("folder"), data_version="", workers=2)
    found = labels(tmp_path / "dataset")
    assert len(found) == summary["kept"] > 20
    for path, label in found.items():
        assert label == (path.split("/")[0] if "/" in path else None)
    assert summary["labels"] == {name: list(found.values()).count(name) for name in ("dusk", "night")}
    rejected = pq.read_table(tmp_path / "dataset" / "manifest.parquet", filters=[("status", "!=", "kept")])
    assert set(rejected["label"].to_pylist()) == {None}


def test_a_csv_gives_labels_and_leaves_the_shards_unchanged(album: Path, tmp_path: Path):
    photos = tmp_path / "photos"
    shutil.copytree(album, photos)
    files = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))
    words = {file: ("sea", "forêt, hill", "")[place % 3] for place, file in enumerate(files)}
    lines = ["stars,label,file", *(f'5,"{word}",./{file}' for file, word in words.items())]
    (photos / "labels.csv").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    preprocess(photos, tmp_path / "with", config("labels.csv"), data_version="", workers=2)
    preprocess(photos, tmp_path / "without", config(""), data_version="", workers=2)
    found = labels(tmp_path / "with")
    assert found == {path: words[path] or None for path in found}
    assert labels(tmp_path / "without") == dict.fromkeys(found)
    for path in (tmp_path / "with").glob("*.npy"):
        assert (tmp_path / "without" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"file,word\na.jpg,x\n", r"labels\.csv lacks the column label; it needs file and label"),
        (b"", "lacks the column file and label"),
        (b"file,label\na.jpg,x\nb.jpg,x\n", r"line 3: 'b\.jpg' is not among"),
        (b"file,label\na.jpg,x\n./a.jpg,y\n", r"line 3: a\.jpg is listed twice"),
        (b"file,label\n\xff,x\n", "cannot be read.*UTF-8"),
        (b"sep=;\r\nfile;label\r\na.jpg;x\r\n", "begins with sep=;.*remove that line, and separate columns by commas"),
        (b"\xef\xbb\xbfsep=,\nfile,label\na.jpg,x\n", "begins with sep=,.*remove that line"),
        (b"file;label\na.jpg;x\n", "has semicolons; separate columns by commas"),
        (b"file\tlabel\na.jpg\tx\n", "has tabs"),
        (b"file,label\nday\\b.jpg,x\n", "write day/b.jpg, with / between folders"),
        (b"file,label\nZoe\xcc\x88.jpg,x\n", "Unicode's form NFC; convert the table to NFC"),
        (b"file,label\na.jpg\n", None),
    ],
)
def test_errors_of_a_csv_name_the_problem(tmp_path: Path, content: bytes, words: str | None):
    table = tmp_path / "copy.csv"
    table.write_bytes(content)
    if words is None:  # a short row has no label
        assert labels_by("labels.csv", table, {"a.jpg"})("a.jpg") is None
        return
    with pytest.raises(UserError, match=words):
        labels_by("labels.csv", table, {"a.jpg", "day/b.jpg", "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}.jpg"})


@pytest.mark.parametrize("place", ["labels.csv", "../labels.csv", "link.csv"])
def test_a_missing_or_misplaced_csv_is_refused(tmp_path: Path, place: str):
    (tmp_path / "labels.csv").write_text("file,label\n", encoding="utf-8")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "link.csv").symlink_to(tmp_path / "labels.csv")
    with pytest.raises(UserError, match=rf"there is no file {re.escape(place)}; preprocess\.labels names it"):
        preprocess(photos, tmp_path / "out", config(place), data_version="", workers=1)
    assert not (tmp_path / "out").exists()


def test_labels_that_match_no_photograph_are_an_error(album: Path, tmp_path: Path):
    photos = tmp_path / "flat"
    photos.mkdir()
    for path in album.rglob("*.jpg"):
        shutil.copy(path, photos)
    with pytest.raises(UserError, match=r"preprocess\.labels is folder, which gives a label to none of \d+ usable"):
        preprocess(photos, tmp_path / "out", config("folder"), data_version="", workers=2)
    assert not (tmp_path / "out").exists()
