"""Tests of `make setup` in a folder that was moved or copied: its environment belongs to the old path."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = ("Makefile", "requirements.txt", "requirements-uv.txt", "pyproject.toml")


def commands(folder: Path) -> str:
    """Returns the commands that `make setup` would run there."""
    done = subprocess.run(["make", "-n", "setup"], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("name", ["plain", "with space", "it's", "a&b", "50%", "q?x=1", 'say "é"'])
@pytest.mark.parametrize("noted", ["ready", "activate"])  # `activate` alone: made by an earlier release
def test_an_environment_of_another_path_is_made_anew(name: str, noted: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    (folder / ".venv" / "bin").mkdir(parents=True)
    for file in FILES:
        shutil.copyfile(ROOT / file, folder / file)
    (folder / ".venv" / "bin" / "activate").write_text(f'VIRTUAL_ENV="{folder}/.venv"\n')
    (folder / ".venv" / "ready").write_text(f"{folder}\n" if noted == "ready" else "")
    assert "rm -rf" not in commands(folder)
    assert "venv" not in commands(folder)
    moved = folder.rename(tmp_path / f"{name} moved")
    assert commands(moved).index("rm -rf .venv") < commands(moved).index("-m venv .venv")


def test_a_folder_without_an_environment_gets_one(tmp_path: Path) -> None:
    for file in FILES:
        shutil.copyfile(ROOT / file, tmp_path / file)
    assert "-m venv .venv" in commands(tmp_path)
    assert "rm -rf" not in commands(tmp_path)
