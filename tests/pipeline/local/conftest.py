"""Fixture of the tests of local runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_runs import Story
from tests.support.webhook import receiver


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[Story]:
    with receiver(200) as hook:
        story = Story(tmp_path_factory.mktemp("run"), hook)
        story.photos.mkdir()
        for photograph in sorted((photos / "scratch").iterdir()):
            shutil.copy(photograph, story.photos)
        yield story
