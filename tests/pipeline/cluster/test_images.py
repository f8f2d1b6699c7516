"""Tests of `colorize images build` in a clone: its calls of docker or podman (scripts here) and its records."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pipeline import ROOT
from pipeline.cluster.images import IMAGES
from tests.support.patience import patience

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

    @property
    def changed(self) -> list[str]:
        return [line[3:] for line in self.run("git", "status", "--porcelain").stdout.splitlines()]

    @property
    def git_commit(self) -> str:
        program = "from components.shared.machine.code import git_commit; print(git_commit())"
        return self.run(sys.executable, "-c", program).stdout.strip()

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(self.root), "CALLS": str(self.root.parent / "calls")} | variables
        environment["PATH"] = f"{self.root.parent / 'bin'}:{environment['PATH']}"
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def build(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "pipeline.cli.main", "images", "build", *arguments, **variables)

    def make_images(self, *variables: str) -> None:
        """Runs `make images` over the packages of this environment."""
        done = self.run("make", "images", *variables)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    root = tmp_path / "colorize"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True, timeout=patience(60))
    (tmp_path / "bin").mkdir()
    for tool in ("docker", "podman"):
        (tmp_path / "bin" / tool).write_text(TOOL)
        (tmp_path / "bin" / tool).chmod(0o755)
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "ready").touch()
    (root / ".venv" / "bin" / "colorize").write_text(f'#!/bin/sh\nexec {sys.executable} -m pipeline.cli.main "$@"\n')
    (root / ".venv" / "bin" / "colorize").chmod(0o755)
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return Clone(root, head.stdout.strip())


def test_build_without_a_registry_tags_with_the_commit_and_pushes_nothing(clone: Clone) -> None:
    done = clone.build()
    assert done.returncode == 0, done.stderr
    assert {call[1] for call in clone.calls} == {"build"}
    assert [call[call.index("--target") + 1] for call in clone.calls] == list(IMAGES)
    assert clone.entries == [{"name": name, "newName": name, "newTag": clone.commit} for name in IMAGES.values()]


@pytest.mark.slow
def test_the_images_are_pushed_after_they_were_built_twice_and_scanned(clone: Clone) -> None:
    """What `make images` writes is not in the images, so it never makes a commit dirty."""
    clone.make_images("NO_CACHE=1")
    fresh = [call for call in clone.calls if call[1] == "build"]
    assert len(fresh) == len(IMAGES)
    assert all("--no-cache" in call for call in fresh)
    assert clone.changed == ["k8s/images/kustomization.yaml", "pipeline/retraining.yaml"]
    clone.make_images()
    clone.make_images("REGISTRY=registry.example.com/acme")
    assert {call[call.index("--tag") + 1].rpartition(":")[2] for call in clone.calls if "--tag" in call} == {
        clone.commit
    }
    assert [call[1] for call in clone.calls[2 * len(IMAGES) :]].count("push") == len(IMAGES)
    assert all("--no-cache" not in call for call in clone.calls[len(fresh) :]), "other images than those scanned"
    compiled = (clone.root / "pipeline" / "retraining.yaml").read_text()
    assert set(re.findall(r"image: (\S+)", compiled)) == {
        f"registry.example.com/acme/colorize-python-{target}:{clone.commit}@{DIGEST}" for target in ("cpu", "gpu")
    }
    assert clone.git_commit == clone.commit


@pytest.mark.slow
def test_single_images_can_be_built_and_the_others_keep_their_record(clone: Clone) -> None:
    before = {entry["name"]: entry for entry in clone.entries}
    clone.make_images("TARGETS=cpu serving")
    assert [call[call.index("--target") + 1] for call in clone.calls] == ["cpu", "serving"]
    after = {entry["name"]: entry for entry in clone.entries}
    assert after["colorize-python-gpu"] == before["colorize-python-gpu"]
    assert after["colorize-python-serving"]["newTag"] == clone.commit
    unknown = clone.build("--target", "tpu")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "error: --target tpu: there is no such image; there are cpu, gpu, serving.\n",
    )


def test_podman_names_an_image_as_a_cluster_looks_for_it(clone: Clone) -> None:
    assert clone.build("--tool", "podman").returncode == 0
    tags = [call[call.index("--tag") + 1] for call in clone.calls]
    assert tags == [f"docker.io/library/{name}:{clone.commit}" for name in IMAGES.values()]
    assert clone.entries[0]["newName"] == IMAGES["cpu"]


COPIED = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "components" / "images" / "Dockerfile").read_text(), re.MULTILINE)


def test_a_commit_is_dirty_when_something_differs_that_an_image_gets(clone: Clone) -> None:
    for source in {source for line in COPIED for source in line.split()}:
        file = clone.root / source
        file = file / "new" if file.is_dir() else file
        before = file.read_bytes() if file.exists() else b""
        file.write_bytes(before + b"# changed\n")
        assert clone.git_commit == f"{clone.commit}-dirty", source
        file.write_bytes(before) if before else file.unlink()
    assert clone.git_commit == clone.commit


def test_a_commit_is_not_dirty_when_what_differs_is_in_no_image(clone: Clone) -> None:
    files = [".dvc/config", "docs/operate/images.md", "k8s/images/kustomization.yaml", "pipeline/retraining.yaml"]
    for file in files:
        with (clone.root / file).open("a") as changed:
            changed.write("# changed\n")
    assert sorted(clone.changed) == files
    assert clone.git_commit == clone.commit


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
