"""Tests of the locks: they agree with each other, hold for every Python, and lack what a group is without."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from pipeline import ROOT

GROUPS = {"serve": ("base", "serve"), "cluster": ("base", "cluster"), "run": ("base", "serve", "cluster", "run")}
WITHOUT = {
    "serve": ("kfp", "kfp-kubernetes", "dvc", "mlflow", "boto3", "pytest"),
    "cluster": ("torch", "torchvision", "timm", "dvc", "mlflow", "pytest"),
    "run": ("pytest", "mypy", "playwright"),
}


def locked(file: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Returns version and hashes of each distribution."""
    parts = re.split(r"^(?=[\w.-]+==)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for part in filter(str.strip, parts):
        name, version = part.split()[0].split("==")
        assert name not in found, f"{file.name} has two versions of {name}"
        found[name] = (version, frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", part)))
    return found


def wanted(*files: str) -> set[str]:
    """Returns the names of the distributions that these files of requirements/ ask for."""
    text = "\n".join((ROOT / "requirements" / f"{file}.in").read_text(encoding="utf-8") for file in files)
    return {name.lower().replace("_", "-") for name in re.findall(r"^([\w-]+)", text, re.MULTILINE)}


def pythons() -> list[str]:
    """Returns the versions of Python that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first, last = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()  # type: ignore[union-attr]
    return [f"3.{minor}" for minor in range(int(first), int(last))]


WHOLE = locked(ROOT / "requirements.txt")


def test_every_lock_names_hashes_and_no_host() -> None:
    for file in (*ROOT.glob("requirements*.txt"), *(ROOT / "requirements").glob("*.txt")):
        assert all(hashes for _, hashes in locked(file).values()), file.name
        assert not re.search(r"://|--index|--find-links", file.read_text(encoding="utf-8")), file.name


@pytest.mark.parametrize("group", GROUPS)
def test_the_lock_of_a_group_is_a_part_of_the_whole(group: str) -> None:
    lock = locked(ROOT / "requirements" / f"{group}.txt")
    assert {name: entry for name, entry in lock.items() if WHOLE.get(name) != entry} == {}
    assert wanted(*GROUPS[group]) <= lock.keys()
    assert not set(WITHOUT[group]) & lock.keys()


def test_the_whole_lock_holds_what_every_group_asks_for() -> None:
    assert wanted(*(file.stem for file in (ROOT / "requirements").glob("*.in"))) <= WHOLE.keys()


def test_the_makefile_and_the_workflow_take_the_pythons_of_the_package() -> None:
    first, *_, last = (version.split(".")[1] for version in pythons())
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"(3, {first}) <= sys.version_info[:2] <= (3, {last})" in makefile
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons()


@pytest.mark.parametrize("name", ["3.10", "3.15", "missing"])
def test_setup_refuses_another_python(name: str, tmp_path: Path) -> None:
    python = tmp_path / f"python {name}"
    if name != "missing":
        answer = f"(3, 11) <= ({name.replace('.', ', ')}) <= (3, 14)"
        python.write_text(f"#!/bin/sh\nexec python3 -c 'import sys; sys.exit(not {answer})'\n")
        python.chmod(0o755)
    for file in ("Makefile", "requirements.txt", "requirements-uv.txt", "pyproject.toml"):
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    command = ["make", "setup", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "error: Python 3.11 to 3.14 is needed; name it with make PYTHON=" in done.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("version", pythons())
def test_every_python_has_wheels_of_the_locked_versions(version: str, tmp_path: Path) -> None:
    source_alone = ("antlr4-python3-runtime", "kfp-server-api")  # of pure Python
    lines = re.findall(r"^(?=[\w-]+==)(.*) \\$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    (tmp_path / "all.in").write_text("\n".join(line for line in lines if not line.startswith(source_alone)))
    assert len(lines) == len(WHOLE)
    platform = ("--python-version", version, "--python-platform", "x86_64-manylinux_2_28")
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "compile", "--quiet", "--no-deps", "--only-binary", ":all:", *platform, tmp_path / "all.in"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
