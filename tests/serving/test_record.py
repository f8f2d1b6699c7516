"""Tests of the record of a folder of pictures after a kill, a power cut or a change of version."""

import json
import os
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

import pytest

from serving import record
from serving.record import NAME, Origin, Record
from tests.support.killed import stops

ORIGIN = Origin("album/old.jpg", "p", "w", 0, "day", 2)
FOREIGN = json.dumps({"picture": "a", "sha256": "b", **asdict(ORIGIN), "photograph": [], "label": {}}).encode()


def test_the_record_finds_a_picture_until_it_changes(tmp_path: Path):
    picture = tmp_path / "album" / "old-colorized-2.jpg"
    Record(tmp_path).write(picture, b"colors", ORIGIN)
    known = Record(tmp_path)
    assert known.find(ORIGIN) == picture
    assert known.knows("album/old.jpg")
    assert not known.knows("old.jpg")
    picture.write_bytes(b"retouched")
    assert known.find(ORIGIN) is None
    picture.unlink()
    assert known.find(ORIGIN) is None


def test_a_kill_after_the_line_leaves_no_wrong_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    picture = tmp_path / "album" / "old-colorized-2.jpg"
    with monkeypatch.context() as patch:
        patch.setattr(record, "write_aside", killed)
        with pytest.raises(KeyboardInterrupt):
            Record(tmp_path).write(picture, b"colors", ORIGIN)
    assert Record(tmp_path).find(ORIGIN) is None
    Record(tmp_path).write(picture, b"other colors", ORIGIN)
    assert Record(tmp_path).find(ORIGIN) == picture


def test_a_picture_its_name_and_its_line_are_on_the_disk_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced, fsync = set(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.add(os.fstat(handle).st_ino), fsync(handle))[1])
    picture = tmp_path / "album" / "old-colorized-2.jpg"
    Record(tmp_path).write(picture, b"colors", ORIGIN)
    assert {path.stat().st_ino for path in (picture, picture.parent, tmp_path / NAME)} <= synced


def test_a_kill_at_any_system_call_leaves_the_old_or_the_new_picture(tmp_path: Path):
    picture, old, new = tmp_path / "album" / "old-colorized.jpg", b"old" * 9000, b"new" * 9000
    later = replace(ORIGIN, seed=1)
    record = Record(tmp_path)
    record.write(picture, old, ORIGIN)
    found = []
    for _ in stops(lambda: record.write(picture, new, later)):
        left = picture.read_bytes()
        known = Record(tmp_path)
        assert (known.find(ORIGIN), known.find(later)) == ((picture, None) if left == old else (None, picture))
        found.append(left)
    assert [content for content, _ in groupby(found)] == [old, new]


@pytest.mark.parametrize(
    "damage", [b'\n{"picture": "old', b"\n[]", b"\n{}", b'\n{"picture": 1, "sha256": 2}', b"\n\xff\x00", FOREIGN]
)
def test_an_unreadable_line_does_not_affect_the_others(tmp_path: Path, damage: bytes):
    first, second = tmp_path / "album" / "a.jpg", tmp_path / "album" / "b.jpg"
    other = Origin("album/b.jpg", "p", "w", 0, None, None)
    Record(tmp_path).write(first, b"a", ORIGIN)
    with (tmp_path / NAME).open("ab") as file:
        file.write(damage)
    Record(tmp_path).write(second, b"b", other)
    known = Record(tmp_path)
    assert (known.find(ORIGIN), known.find(other)) == (first, second)
