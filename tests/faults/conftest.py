"""Fixtures: photographs, a rig for a run that is disturbed, and a rig with a finished run."""

import shutil
from pathlib import Path

import pytest

from tests.faults.rig import Rig


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """Returns a folder of 46 photographs."""
    folder = tmp_path_factory.mktemp("few") / "photos"
    shutil.copytree(photos / "scratch", folder)
    return folder


@pytest.fixture
def rig(tmp_path: Path, few: Path) -> Rig:
    return Rig(tmp_path, few)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, few: Path) -> Rig:
    """Returns a rig after a successful run; version 1 is the champion."""
    rig = Rig(tmp_path_factory.mktemp("finished"), few)
    run = rig.run()
    assert run.status == 0, run.output
    return rig


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(3600))
