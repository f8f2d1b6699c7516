"""Tests of `colorize images build` in a clone: its calls of docker or podman (scripts here) and its records."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pipeline import ROOT
from pipeline.cluster.images import IMAGES

DIGEST = "sha256:" + "0123456789abcdef" * 4
TOOL = f"""#!/bin/sh
echo "$0 $*" >> "$CALLS"
case "$1 $2" in
    "push --digestfile") printf {DIGEST} > "$3" ;;
    "image inspect") echo '[{{"RepoDigests": ["other/image@sha256:0", "'"${{3%:*}}"'@{DIGEST}"]}}]' ;;
    *"--file"*) exit "${{STATUS:-0}}" ;;
esac
"""


@dataclass(frozen=True)
class Clone:
    root: Path
    commit: str

    @property
    def calls(self) -> list[list[str]]:
        return [line.split() for line in (self.root.parent / "calls").read_text().splitlines()]

    @property
    def entries(self) -> list[dict[str, str]]:
        return yaml.safe_load((self.root / "k8s" / "images" / "kustomization.yaml").read_text())["images"]

    def build(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(self.root), "CALLS": str(self.root.parent / "calls")} | variables
        environment["PATH"] = f"{self.root.parent / 'bin'}:{environment['PATH']}"
        command = [sys.executable, "-m", "pipeline.cli.main", "images", "build", *arguments]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    root = tmp_path / "colorize"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True, timeout=60)
    (tmp_path / "bin").mkdir()
    for tool in ("docker", "podman"):
        (tmp_path / "bin" / tool).write_text(TOOL)
        (tmp_path / "bin" / tool).chmod(0o755)
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return Clone(root, head.stdout.strip())


def test_build_without_a_registry_tags_with_the_commit_and_pushes_nothing(clone: Clone) -> None:
    done = clone.build()
    assert done.returncode == 0, done.stderr
    assert {call[1] for call in clone.calls} == {"build"}
    assert [call[call.index("--target") + 1] for call in clone.calls] == list(IMAGES)
    assert clone.entries == [{"name": name, "newName": name, "newTag": clone.commit} for name in IMAGES.values()]
    assert clone.build().returncode == 0, "what it wrote itself counts as a change"
    assert clone.entries[0]["newTag"] == clone.commit


@pytest.mark.parametrize("tool", ["docker", "podman"])
def test_build_with_a_registry_pushes_and_records_the_digests(clone: Clone, tool: str) -> None:
    done = clone.build("--push", "registry.example.com/acme/", "--tool", tool)
    assert done.returncode == 0, done.stderr
    assert {Path(call[0]).name for call in clone.calls} == {tool}
    names = {name: f"registry.example.com/acme/{name}" for name in IMAGES.values()}
    assert clone.entries == [
        {"name": name, "newName": full, "newTag": clone.commit, "digest": DIGEST} for name, full in names.items()
    ]


def test_a_dirty_working_tree_is_tagged_dirty_and_not_pushed(clone: Clone) -> None:
    (clone.root / "model" / "new.py").write_text("")
    assert clone.build().returncode == 0
    assert clone.entries[0]["newTag"] == f"{clone.commit}-dirty"
    done = clone.build("--push", "registry.example.com/acme")
    assert done.returncode == 1
    assert done.stderr.startswith("error: Refusing to push images of uncommitted changes")
    assert "push" not in {call[1] for call in clone.calls}


def test_a_failed_build_is_named_and_changes_nothing(clone: Clone) -> None:
    before = clone.entries
    done = clone.build(STATUS="3")
    assert done.returncode == 1
    assert done.stderr.startswith("error: `docker build")
    assert "status 3" in done.stderr
    assert clone.entries == before
