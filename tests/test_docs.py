"""The commands on the docs' pages work, and print what the pages show."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import Terminal, commands, difference
from tests.dvc_project import ROOT, bare_environment
from tests.s3 import S3Server, seaweedfs

USER = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "colorize")], check=True, timeout=60)
    return tmp_path / "colorize"


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with seaweedfs(tmp_path / "s3") as server:
        yield server


def test_data(clone: Path, photos: Path, s3: S3Server, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(photos / "endless-sky-data", home / "Pictures" / "landscapes")
    keys = " ".join(f"{name}='{value}'" for name, value in s3.environment.items())
    terminal = Terminal(clone, bare_environment(home) | USER)
    page = commands(ROOT / "docs" / "data.md")
    assert len(page) > 20
    try:
        for command in page:
            text = command.text.replace("http://127.0.0.1:8333", s3.endpoint)
            text = text.replace("AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...", keys)
            status, printed = terminal.run(text)
            shown = tuple(line.replace("http://127.0.0.1:8333", s3.endpoint) for line in command.shown)
            assert not difference(shown, printed), f"$ {text}\n" + "\n".join(printed)
            assert (status == 0) != any(line.startswith("error:") for line in shown), f"{status}: $ {text}"
    finally:
        terminal.close()
