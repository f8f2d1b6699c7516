"""`colorize photo` for tests: the command in this process, a tiny generator, a small photograph."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from serving.record import NAME
from tests.model.inference.test_colorizer import generator_folder
from tests.pipeline.conftest import Done, colorize, migrated, workplace

__all__ = ["colorize", "migrated", "workplace"]

Photo = Callable[..., Done]
COLORIZE = Path(sys.executable).with_name("colorize")


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generator_folder(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def picture(photos: Path) -> Image.Image:
    return Image.open(sorted((photos / "scratch").glob("*.jpg"))[0]).convert("RGB").resize((90, 60))


@pytest.fixture
def photo(colorize: Callable[..., Done]) -> Photo:
    return lambda *arguments: colorize("photo", *map(str, arguments))


def pictures(folder: Path) -> list[str]:
    """Returns the files below a folder of pictures, without the record."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(set(files) - {NAME})
