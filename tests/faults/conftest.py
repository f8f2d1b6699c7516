"""Photographs for the runs that get broken, and a run that nobody broke."""

import shutil
from pathlib import Path

import pytest

from tests.faults.rig import Rig


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """46 photographs."""
    folder = tmp_path_factory.mktemp("few") / "photos"
    shutil.copytree(photos / "scratch", folder)
    return folder


@pytest.fixture
def rig(tmp_path: Path, few: Path) -> Rig:
    return Rig(tmp_path, few)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, few: Path) -> Rig:
    """After a run that ended well: version 1 is the champion."""
    rig = Rig(tmp_path_factory.mktemp("finished"), few)
    run = rig.run()
    assert run.status == 0, run.output
    return rig


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(3600))
