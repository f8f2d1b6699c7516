"""Tests of the hash of a step's code, and of the file that an image gets: submitted code is compared with it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ROOT

PROGRAM = """
from components.images.hashes import code_version
print(*(code_version(step) for step in ("preprocess", "train", "evaluate")))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("model", "components", "pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    return tmp_path


def run(checkout: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": ".", "COLORIZE_WORKSPACE": str(checkout / "workspace")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def versions(checkout: Path) -> list[str]:
    done = run(checkout, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
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


def test_a_step_in_an_image_runs_with_the_code_that_was_submitted_and_with_no_other(checkout: Path):
    step = (
        "import sys; from components.shared.step import step\nwith step('train', train=sys.argv[1]): print('at work')"
    )
    submitted = versions(checkout)[1]
    run(checkout, "-m", "components.images.hashes", "0123abc", "image.json").check_returncode()
    folders = {path.name for path in (checkout / "components").iterdir() if (path / "component.py").is_file()}
    assert json.loads((checkout / "image.json").read_text())["code"].keys() == folders - {"shared"}
    assert run(checkout, "-c", step, submitted).stdout == "at work\n"

    touch(checkout / "model" / "training" / "loop.py")  # and submitted without a new image
    done = run(checkout, "-c", step, versions(checkout)[1])
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: The image was built from commit 0123abc" in done.stderr
