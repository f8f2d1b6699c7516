"""Tests of the end of a step: stop signals, errors of the disk, bugs, and damaged inputs."""

import errno
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from components.shared.step import DAMAGED, JOURNAL, RETRY_ME, disk_error, step
from model.utils.errors import Damaged, UserError
from tests.support.trainings import terminate


@pytest.fixture
def journal(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(JOURNAL, str(workplace / "journal.jsonl"))
    return workplace / "journal.jsonl"


def test_a_step_cleans_up_on_sigterm_and_records_the_interruption(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    cleared = False

    def evaluate() -> None:
        nonlocal cleared
        os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C in a terminal does; the run decides
        try:
            terminate(0)
        finally:
            terminate(0)  # a second signal has no effect
            cleared = True

    with pytest.raises(SystemExit) as ended, step("evaluate"):
        evaluate()
    assert ended.value.code == RETRY_ME
    assert cleared
    assert capsys.readouterr().err == ("interrupted: it was told to stop; run the same command again to resume.\n")
    assert json.loads(journal.read_text())["outcome"] == "interrupted"
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_sigterm_ends_a_step_even_where_python_swallows_exceptions(journal: Path) -> None:
    class Gone:
        def __del__(self) -> None:
            terminate(0)

    def evaluate() -> None:
        Gone()
        time.sleep(10)
        raise AssertionError("it went on")

    before = sys.unraisablehook
    with pytest.raises(SystemExit) as ended, step("evaluate"):
        evaluate()
    assert ended.value.code == RETRY_ME
    assert json.loads(journal.read_text())["outcome"] == "interrupted"
    assert sys.unraisablehook is before


@pytest.mark.parametrize(
    ("number", "where", "said"),
    [
        (errno.ENOSPC, None, "workspace: No space left on device; make room, then"),
        (
            errno.EACCES,
            "a.jpg",
            "a.jpg: Permission denied; give the user who runs this access, then",
        ),
        (errno.EROFS, "a.jpg", "a.jpg: Read-only file system; make it writable, then"),
    ],
)
def test_an_error_of_the_disk_is_explained_in_one_line(
    journal: Path, capsys: pytest.CaptureFixture[str], number: int, where: str | None, said: str
) -> None:
    with pytest.raises(SystemExit) as ended, step("train"):
        raise ValueError("of a library that says it in its own way") from OSError(number, os.strerror(number), where)
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{said} run the same command again to resume." in line
    assert said in json.loads(journal.read_text())["message"]


def test_a_bug_keeps_its_traceback(journal: Path) -> None:
    assert disk_error(FileNotFoundError(errno.ENOENT, "No such file or directory", "a.jpg")) is None
    assert disk_error(PermissionError(errno.EACCES, "Permission denied")) is None  # of a port, say
    with pytest.raises(ZeroDivisionError), step("train"):
        1 / 0  # noqa: B018


def test_the_journal_names_the_damaged_folder(journal: Path) -> None:
    with pytest.raises(SystemExit), step("train"):
        raise Damaged("dataset/train-00000.npy is damaged", Path("dataset"))
    assert json.loads(journal.read_text())["notes"] == {DAMAGED: "dataset"}
    with pytest.raises(SystemExit), step("train"):
        raise UserError("no such photographs")
    assert json.loads(journal.read_text().splitlines()[1])["notes"] == {}
