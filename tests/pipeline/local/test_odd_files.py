"""Test of a run over a folder with odd files, whose own path is not UTF-8."""

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.support.local_runs import Story


@pytest.mark.slow
def test_odd_files_are_passed_by_with_a_word_and_the_run_goes_on(story: Story, tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (99, 99), (50 * number, 90, 0)).save(folder / f"{number}.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    (folder / "itself.jpg").symlink_to("itself.jpg")
    (folder / os.fsdecode(b"na\xefve.jpg")).write_bytes((folder / "0.jpg").read_bytes())
    run = story.run(photos=folder)
    assert "passed by: itself.jpg: a link that leads to itself." in run.output
    assert "passed by: nowhere.jpg: a link that leads nowhere." in run.output
    assert "passed by: pipe.jpg: neither a file nor a link to one." in run.output
    assert "ve.jpg: a name that is not UTF-8." in run.output
    assert "usable photographs" in run.output  # too few of them: merge says so, after all files were read
    assert "rejected: 4 unreadable" in run.output
    assert "Traceback" not in run.output
