"""Tests of atomic writing: killed at any system call, on a full disk, by several writers, and what is on the disk."""

import errno
import os
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import pytest

from model.utils import files
from model.utils.errors import UserError
from model.utils.files import append_line, folder_aside, read_lines, write_aside
from tests.support.killed import forked, kill, stops

OLD, NEW = b"old" * 3000, b"new" * 5000


def write_folder(folder: Path, content: bytes) -> None:
    with folder_aside(folder, "0") as aside:
        (aside / "sub").mkdir()
        (aside / "0").write_bytes(content)
        (aside / "sub" / "1").write_bytes(content)


def folder_content(folder: Path) -> bytes:
    """Returns the content of every file of a folder; fails if the folder is missing, incomplete or mixed."""
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == ["0", "sub", "sub/1"]
    first, second = (folder / "0").read_bytes(), (folder / "sub" / "1").read_bytes()
    assert first == second
    return first


def seen(folder: Path) -> list[tuple[str, int]]:
    """Returns the names and sizes of everything below a folder."""
    return sorted((str(path.relative_to(folder)), path.lstat().st_size) for path in folder.rglob("*"))


KINDS = [(write_aside, Path.read_bytes), (write_folder, folder_content)]
kinds = pytest.mark.parametrize(("write", "read"), KINDS, ids=["file", "folder"])


@kinds
def test_a_kill_at_any_system_call_leaves_the_old_or_the_new_one(
    tmp_path: Path, write: Callable[[Path, bytes], None], read: Callable[[Path], bytes]
):
    place = tmp_path / "a" / "place"
    place.parent.mkdir()
    forked(lambda: write(place, OLD))
    found, changes, before = [], [], seen(tmp_path)
    for stop in stops(lambda: write(place, NEW)):
        found.append(read(place))
        if before != (before := seen(tmp_path)):
            changes.append(stop)
    assert [content for content, _ in groupby(found)] == [OLD, NEW]
    assert len(changes) >= 3
    for stop in changes:  # the second call completes and removes what the killed one left
        kill(lambda: write(place, OLD), stop)
        assert read(place) in (OLD, NEW)
        forked(lambda: write(place, NEW))
        assert read(place) == NEW
        assert [path.name for path in place.parent.iterdir()] == [place.name]


@kinds
def test_a_kill_at_any_system_call_leaves_no_part_of_a_first_one(
    tmp_path: Path, write: Callable[[Path, bytes], None], read: Callable[[Path], bytes]
):
    place = tmp_path / "place"
    found = [read(place) if place.exists() else b"" for _ in stops(lambda: write(place, NEW))]
    assert [content for content, _ in groupby(found)] == [b"", NEW]


def test_a_journal_keeps_whole_lines_after_a_kill_at_any_system_call(tmp_path: Path):
    journal = tmp_path / "journal"
    append_line(journal, {"line": 1})
    found = [
        [values["line"] for values in read_lines(journal)] for _ in stops(lambda: append_line(journal, {"line": 2}))
    ]
    assert [lines for lines, _ in groupby(found)] == [[1], [1, 2]]


@pytest.mark.parametrize("torn", [b'\n{"line": 2', b"\n{", b"\n[2]", b'\n"2', b"\n\xff\x00", b"\n" + b"[" * 100_000])
def test_a_torn_line_is_one_that_was_not_written(tmp_path: Path, torn: bytes):
    journal = tmp_path / "journal"
    assert list(read_lines(journal)) == []
    append_line(journal, {"line": 1})
    with journal.open("ab") as file:
        file.write(torn)
    assert list(read_lines(journal)) == [{"line": 1}]
    append_line(journal, {"line": 3})
    assert list(read_lines(journal)) == [{"line": 1}, {"line": 3}]


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Returns what reaches the disk and which names appear, in order: relative path and size of the content."""
    said: list[str] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def of(path: str | Path) -> str:
        name = str(Path(os.path.realpath(path)).relative_to(tmp_path))
        return "/".join("aside" if part.endswith(".partial") else part for part in name.split("/"))

    def synced(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}")
        said.append(f"sync {of(path)}" + (f" {path.stat().st_size}" if path.is_file() else ""))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    for name, function in (("rename", rename), ("replace", replace)):
        monkeypatch.setattr(
            os, name, lambda a, b, function=function: (said.append(f"{of(b)} appears"), function(a, b))[1]
        )
    return said


def test_a_file_is_on_the_disk_before_it_appears_and_its_name_after(tmp_path: Path, on_disk: list[str]):
    write_aside(tmp_path / "file", NEW)
    assert on_disk == [f"sync aside {len(NEW)}", "file appears", "sync ."]


def test_a_folder_is_on_the_disk_before_it_appears_and_its_name_after(tmp_path: Path, on_disk: list[str]):
    write_folder(tmp_path / "folder", NEW)
    (at,) = (number for number, what in enumerate(on_disk) if what == "folder appears")
    assert sorted(on_disk[:at]) == [
        "sync aside", f"sync aside/0 {len(NEW)}", "sync aside/sub", f"sync aside/sub/1 {len(NEW)}"
    ]  # fmt: skip
    assert on_disk[at + 1 :] == ["sync ."]


def test_a_line_is_on_the_disk_when_it_is_written(tmp_path: Path, on_disk: list[str]):
    append_line(tmp_path / "journal", {"line": 1})
    size = (tmp_path / "journal").stat().st_size
    assert on_disk == [f"sync journal {size}", "sync ."]
    append_line(tmp_path / "journal", {"line": 2})
    assert on_disk[2:] == [f"sync journal {2 * size}"]


def test_writers_at_once_never_mix(tmp_path: Path):
    contents = [bytes([65 + number]) * 200_000 for number in range(8)]
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            assert (tmp_path / "file").read_bytes() in contents
            assert (tmp_path / "folder").is_dir()

    def write(number: int) -> None:
        for _ in range(10):
            write_aside(tmp_path / "file", contents[number])
            write_folder(tmp_path / "folder", contents[number])

    write(0)
    with ThreadPoolExecutor(len(contents) + 1) as pool:
        looking = pool.submit(look)
        list(pool.map(write, range(len(contents))))
        done.set()
        looking.result()
    assert folder_content(tmp_path / "folder") in contents
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_names_of_255_bytes_fit(tmp_path: Path):
    name = "写" * 83 + "a.jpeg"
    assert len(name.encode()) == 255
    write_aside(tmp_path / name, NEW)
    assert (tmp_path / name).read_bytes() == NEW
    (tmp_path / name).unlink()
    for content in (OLD, NEW):
        write_folder(tmp_path / name, content)
    assert folder_content(tmp_path / name) == NEW


def test_what_does_not_fit_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    write_aside(tmp_path / "file", OLD)

    def fails() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        with pytest.raises(OSError, match="too large"):
            write_aside(tmp_path / "file", NEW)
        with pytest.raises(OSError, match="too large"):
            write_folder(tmp_path / "folder", NEW)
        journal = tmp_path / "journal"
        journal.write_bytes(b"\n" * 9990)
        with pytest.raises(OSError, match="No space left"):
            append_line(journal, {"a long": "line"})
        journal.unlink()

    forked(fails)
    assert (tmp_path / "file").read_bytes() == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_being_written_is_not_taken_for_abandoned(tmp_path: Path):
    (tmp_path / ".mine.partial").touch()
    (tmp_path / f".{'0' * 16}.partial").touch()
    with folder_aside(tmp_path / "folder", "0") as aside:
        (aside / "0").touch()
        forked(lambda: (files._remove_abandoned.cache_clear(), write_aside(tmp_path / "file", NEW)))
        assert aside.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.partial", "file", "folder"]


def test_a_folder_of_something_else_and_a_file_are_not_replaced(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").touch()
    for name in ("file", "home"):
        with pytest.raises(UserError, match=f"{name} exists and is not an earlier output"):
            write_folder(tmp_path / name, NEW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home"]


def test_a_link_to_an_output_stays_a_link(tmp_path: Path):
    (tmp_path / "link").symlink_to("elsewhere/folder")
    for content in (OLD, NEW):
        write_folder(tmp_path / "link", content)
    assert (tmp_path / "link").is_symlink()
    assert folder_content(tmp_path / "elsewhere" / "folder") == NEW


def test_a_file_system_that_cannot_exchange_folders_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def cannot(first: Path, second: Path) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(files, "_exchange", cannot)
    write_folder(tmp_path / "folder", OLD)
    with (
        pytest.raises(UserError, match="cannot replace a folder in one step; remove it"),
        folder_aside(tmp_path / "folder", "0"),
    ):
        pytest.fail("the work begins")
    assert folder_content(tmp_path / "folder") == OLD
