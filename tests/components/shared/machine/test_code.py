"""Tests of the hash of a step's code: it changes with the files that the step imports, and with no others."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ROOT

PROGRAM = """
from components.shared.machine.code import code_version
print(*(code_version(step) for step in ("preprocess", "train", "evaluate")))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("model", "components", "pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    return tmp_path


def versions(checkout: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "."},
    )
    return done.stdout.split()


def touch(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "moved"),
    [
        ("components/train/step.py", (False, True, False)),
        ("components/preprocess/step.py", (True, False, False)),
        ("components/evaluate/step.py", (False, False, True)),
        ("model/training/loop.py", (False, True, False)),
        ("model/color.py", (True, True, True)),
        ("model/metrics/ssim.py", (False, False, True)),
        ("components/register/gate.py", (False, False, False)),
        ("pipeline/graph.py", (False, False, False)),
        ("requirements.txt", (True, True, True)),
    ],
)
def test_a_changed_file_changes_the_hash_of_the_steps_that_import_it(
    checkout: Path, file: str, moved: tuple[bool, ...]
):
    before = versions(checkout)
    touch(checkout / file)
    after = versions(checkout)
    assert tuple(old != new for old, new in zip(before, after, strict=True)) == moved


def test_the_hash_includes_other_files_in_the_steps_folder(checkout: Path):
    before = versions(checkout)
    (checkout / "components" / "evaluate" / "extra.html").write_text("<p>", encoding="utf-8")
    after = versions(checkout)
    assert before[:2] == after[:2]
    assert before[2] != after[2]
