"""Tests of .dvcignore among the photographs: preprocess reads what the data version is of, and nothing else."""

import os
import shutil
from pathlib import Path

import pytest

from components.preprocess.partition import partition
from components.shared.photos import listing
from components.shared.photos.folder import Folder
from pipeline.data.versions import ensure_data, folder_version
from tests.components.preprocess.test_step import CONFIG
from tests.support.dvc_project import Project


def read(folder: Path, scratch: Path) -> set[str]:
    """Returns what preprocess reads of a folder."""
    count = partition(folder, scratch / "listing", CONFIG, data_version="", partitions=1)
    return {file.path for number in range(count) for file in listing.read(scratch / "listing", number)}


@pytest.fixture
def album(tmp_path: Path, photos: Path) -> Path:
    """Returns a folder of its own with files in three folders."""
    album = tmp_path / "album"
    for name in ("a.jpg", "night/b.jpg", "night/c.jpg", "night/old/d.jpg", "day/e.jpg", "Thumbs.db"):
        (album / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photos / "scratch" / "Nature__lake.jpg", album / name)
    (album / "night" / ".dvcignore").write_text("# old ones\nold/\n/b.jpg\n")
    (album / ".dvcignore").write_text("day\n*.db\n")
    return album


EXCLUDED = ("night/b.jpg", "night/old/d.jpg", "day/e.jpg", "Thumbs.db")


def test_preprocess_reads_what_the_version_is_of(album: Path, tmp_path: Path) -> None:
    assert read(album, tmp_path) == {"a.jpg", "night/c.jpg"}
    assert Folder(album).passed_by() == [
        "day: .dvcignore excludes it.",
        "Thumbs.db: .dvcignore excludes it.",
        "night/old: night/.dvcignore excludes it.",
        "night/b.jpg: night/.dvcignore excludes it.",
    ]
    before = folder_version(album)
    for name in EXCLUDED:
        (album / name).write_bytes(b"changed")
    assert folder_version(album) == before
    (album / "night" / "c.jpg").write_bytes(b"changed")
    assert folder_version(album) != before


def test_a_recorded_version_agrees_with_dvc_itself(album: Path, tmp_path: Path, photos: Path) -> None:
    project = Project.create(tmp_path / "made", photos)
    shutil.copytree(album, project.root / "data" / "album")
    before = ensure_data(project.root).version
    project.record("With an album")
    assert project.version == before == ensure_data(project.root).version
    assert ensure_data(project.root).note == ""
    (project.root / "data" / "album" / "night" / "b.jpg").write_bytes(b"changed")
    (project.root / "data" / "desktop.ini").write_bytes(b"of a file manager, as the repository's .dvcignore says")
    assert ensure_data(project.root).version == before
    clone = project.clone(tmp_path)
    ensure_data(clone.root)
    assert read(project.root / "data", tmp_path) == read(clone.root / "data", tmp_path)


def test_pipes_links_and_names_are_no_part_of_either(album: Path, tmp_path: Path) -> None:
    before = folder_version(album)
    os.mkfifo(album / "pipe.jpg")
    (album / "gone.jpg").symlink_to("nowhere")
    (album / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    assert folder_version(album) == before
    assert len(Folder(album).passed_by()) == 4 + 3
