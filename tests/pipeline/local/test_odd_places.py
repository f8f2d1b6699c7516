"""Tests of `colorize run` where paths have odd characters, and after the workspace was moved: end to end.

Each run takes a copy of the photographs; its processes have no network.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.local_runs import Story
from tests.support.small_run import EASY

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["python3 albums & more", '100% "Zoë"\'s?x=1#写真'])
def test_a_run_reads_and_writes_in_the_folders_that_are_named(story: Story, tmp_path: Path, name: str):
    odd = replace(story, folder=tmp_path / name)
    shutil.copytree(story.photos, odd.photos)
    run = odd.run()
    assert run.status == 0, run.output
    assert run.outcomes["promote"] == "done"
    assert odd.aliases() == {"challenger": 1, "champion": 1}
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in odd.folder.iterdir()} <= {"photos", "workspace", "network.log"}


def test_a_moved_workspace_and_moved_photographs_serve_the_next_run(story: Story, tmp_path: Path):
    before, after = replace(story, folder=tmp_path / "before"), replace(story, folder=tmp_path / "after")
    shutil.copytree(story.photos, before.photos)
    assert before.run(*EASY).status == 0
    before.folder.rename(after.folder)
    run = after.run("train.seed=1", *EASY)
    assert run.status == 0, run.output
    assert after.aliases()["champion"] == 2
    assert not before.folder.exists()
    assert str(before.folder) not in run.output
