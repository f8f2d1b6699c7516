"""Fixtures: a small DVC project of real photographs, and a fresh clone of it for each test."""

from pathlib import Path

import pytest

from tests.support.dvc_project import Project


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Project:
    return Project.create(tmp_path_factory.mktemp("original"), photos)


@pytest.fixture
def project(original: Project, tmp_path: Path) -> Project:
    """Returns a fresh clone, whose photographs are only in .dvc/remote."""
    return original.clone(tmp_path)
