"""Tests of the repository's habits: files, commands, versions and owners stay consistent."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from pipeline import ROOT

LOCKS = tuple(f"requirements/{group}.txt" for group in ("run", "serve", "cluster"))
GENERATED = ("requirements.txt", "requirements-audit.txt", *LOCKS, ".dvc/remote/")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE))
PROSE = sorted(path for path in (*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md"), *(ROOT / "docs").rglob("*.md")))


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        if not str(path).startswith(GENERATED):
            content = (ROOT / path).read_bytes()
            if b"\0" not in content:
                found.append((path, content.decode("utf-8")))
    return found


def commands(text: str) -> set[str]:
    return set(re.findall(r"(?:`|\$ |- run: |entry: |^)make ([a-z][\w-]*)", text, re.MULTILINE))


def test_no_file_is_large() -> None:
    sizes = {str(path): (ROOT / path).stat().st_size for path in tracked() if not str(path).startswith(".dvc/remote/")}
    assert {name: size for name, size in sizes.items() if size > 4 << 20} == {}


def test_no_line_ends_in_spaces() -> None:
    assert [str(path) for path, text in texts() if re.search(r"[ \t]$", text, re.MULTILINE)] == []


def test_no_file_holds_a_secret_key() -> None:
    keys = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}|\bxox[abprs]-\w{10}")
    assert [str(path) for path, text in texts() if keys.search(text)] == []


@pytest.mark.parametrize("page", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_on_a_page_exists(page: Path) -> None:
    assert commands(page.read_text(encoding="utf-8")) <= TARGETS


def test_every_make_target_has_a_help_text_and_is_phony() -> None:
    parts = {"faults-killed", "faults-others"}
    assert {name for name in TARGETS if not re.search(rf"^{name}:.*## \w", MAKEFILE, re.MULTILINE)} == parts
    assert set(re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)[1].split()) - {"\\"} == TARGETS


def test_every_pre_commit_hook_is_a_command_of_ci() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = {hook["entry"] for repo in config["repos"] for hook in repo["hooks"]}
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert hooks <= set((ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines())


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[(.*?)\]", changes, re.MULTILINE)[1] == version


def test_every_owned_folder_exists() -> None:
    lines = (ROOT / ".github" / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    folders = [line.split()[0] for line in lines if line.startswith("/")]
    assert all((ROOT / folder.strip("/")).is_dir() for folder in folders)


def test_every_bound_of_a_dependency_has_a_reason() -> None:
    files = (ROOT / "requirements").glob("*.in")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if re.search(r"^[^#]*[=<>]", line) and "  # " not in line] == []


def test_the_workflows_pin_their_actions() -> None:
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        used = re.findall(r"uses: (\S+)", workflow.read_text(encoding="utf-8"))
        assert all(re.fullmatch(r"\./\.github/[\w./]+|[\w./-]+@[0-9a-f]{40}", action) for action in used), workflow.name
