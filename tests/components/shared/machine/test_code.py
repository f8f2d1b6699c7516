"""Tests of the check that an image holds the code that a run was submitted with, in every step that is reused."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.shared.machine import code
from components.shared.machine.code import git_commit, require_submitted
from model.utils.errors import UserError
from pipeline.graph import retraining
from pipeline.steps import Step, steps

AUTHOR = ("-c", "user.name=T", "-c", "user.email=t@example.org")
REUSED = [step for step in steps() if step.cached]
CODES = {step.folder: f"{number:016x}" for number, step in enumerate(REUSED)}


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Returns a function that has this process run in an image, with these hashes in place of those of `CODES`."""
    monkeypatch.setattr(code, "OF_IMAGE", tmp_path / "image.json")

    def write(**other: str) -> None:
        content = {"git_commit": "a" * 40, "code": {**CODES, **other}}
        (tmp_path / "image.json").write_text(json.dumps(content), encoding="utf-8")

    return write


def test_an_image_with_the_submitted_code_passes_whatever_its_commit_is(image: Callable[..., None]) -> None:
    image()
    require_submitted(CODES, "b" * 40)


def test_an_image_with_other_code_is_refused_with_both_commits(image: Callable[..., None]) -> None:
    image(train="f" * 16)
    with pytest.raises(UserError) as refused:
        require_submitted(CODES, "b" * 40)
    assert str(refused.value) == (
        f"The image was built from commit {'a' * 40} and the run submitted from commit {'b' * 40}; the code of train "
        "differs. Run `make images` and submit again, or submit from the image's commit."
    )


def test_an_image_that_does_not_know_a_step_is_refused(image: Callable[..., None]) -> None:
    image()
    with pytest.raises(UserError, match="the code of toy differs"):
        require_submitted({"toy": "0" * 16})


def test_outside_an_image_nothing_is_compared(image: Callable[..., None]) -> None:
    require_submitted({"train": "whatever"}, "b" * 40)


def test_the_commit_of_an_image_is_the_one_it_was_built_from(image: Callable[..., None]) -> None:
    assert git_commit() != "a" * 40
    image()
    assert git_commit() == "a" * 40


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a small checkout that this process seems to run in."""
    folder = tmp_path / "check out"
    folder.mkdir()
    (folder / ".dockerignore").write_text("*\n!code.py\n")
    (folder / "code.py").touch()
    for command in (("init", "--quiet"), ("add", "."), (*AUTHOR, "commit", "--quiet", "-m", "First")):
        subprocess.run(["git", "-C", folder, *command], check=True)
    monkeypatch.setattr(code, "ROOT", folder)
    return folder


def test_the_commit_of_another_users_read_only_checkout_is_known(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    refused = subprocess.run(["git", "-C", checkout, "status"], capture_output=True, text=True, check=False)
    assert "dubious ownership" in refused.stderr
    written = (checkout / ".git" / "index").stat().st_mtime_ns
    assert git_commit() == head.stdout.strip()
    assert (checkout / ".git" / "index").stat().st_mtime_ns == written
    (checkout / "code.py").write_text("changed")
    assert git_commit() == f"{head.stdout.strip()}-dirty"


def test_the_commit_of_an_unpacked_zip_is_unknown_even_within_another_repository(checkout: Path) -> None:
    (checkout / "unpacked").mkdir()
    shutil.copy(checkout / ".dockerignore", checkout / "unpacked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "ROOT", checkout / "unpacked")
        assert git_commit() == "unknown"
    shutil.rmtree(checkout / ".git")
    assert git_commit() == "unknown"


@pytest.mark.parametrize("step", REUSED, ids=lambda step: step.name)
def test_a_step_whose_output_is_reused_refuses_an_image_with_other_code(
    step: Step, image: Callable[..., None], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(**{step.folder: "f" * 16})
    names = {*step.inputs, *step.outputs} - {"Output"}
    given: dict[str, Any] = dict.fromkeys(names) | {"code": CODES[step.folder]}
    with pytest.raises(SystemExit) as ended:
        step.component.python_func(**given | {"variant": {"name": "one"}} if "variant" in names else given)
    assert ended.value.code == 1
    assert f"error: The image was built from commit {'a' * 40}" in capsys.readouterr().err


def test_resolve_compares_every_hash_of_the_graph() -> None:
    inputs = retraining.pipeline_spec.root.input_definitions.parameters
    resolve = next(step for step in steps() if step.name == "resolve")
    assert {name for name in inputs if name.endswith("_code")} <= resolve.inputs.keys()
