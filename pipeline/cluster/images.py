"""Builds and pushes the container images."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from components.images.names import FILE
from components.shared.machine.code import UNKNOWN, git_commit
from model.utils.errors import UserError
from model.utils.files import write_aside
from pipeline import ROOT

IMAGES = {target: f"colorize-python-{target}" for target in ("cpu", "gpu", "serving")}
"""Target of components/images/Dockerfile -> name of the image."""


def build(
    registry: str = "",
    tool: str = "",
    build_args: Sequence[str] = (),
    targets: Sequence[str] = (),
    use_cache: bool = True,
) -> None:
    """Builds the images, tags them with the git commit, and records their names in `components.images.names.FILE`.

    Kustomize and `colorize compile` read that file.

    Args:
        registry: where to push to, such as ghcr.io/acme; its digests are recorded, too. Empty: nothing is pushed.
        tool: docker or podman; empty: the first one that is installed.
        build_args: NAME=VALUE of the Dockerfile.
        targets: keys of `IMAGES`; empty: all. The record of an image that is not built stays as it is.
        use_cache: whether layers of earlier builds are reused.

    Raises:
        UserError: no tool is installed, a target is unknown, what is pushed was not committed, or the tool fails.
    """
    tool = tool or next(filter(shutil.which, ("docker", "podman")), "")
    if not tool:
        raise UserError("Neither docker nor podman is installed; install one of them.")
    if unknown := sorted(set(targets) - IMAGES.keys()):
        raise UserError(f"--target {unknown[0]}: there is no such image; there are {', '.join(IMAGES)}.")
    tag = git_commit()
    if registry and tag == "unknown":
        raise UserError(f"Refusing to push images of an unknown commit; {UNKNOWN}.")
    if registry and tag.endswith("-dirty"):
        raise UserError("Refusing to push images of uncommitted changes; commit what `git status` shows first.")
    options = [f"--build-arg={argument}" for argument in (*build_args, f"REVISION={tag}")]
    options += [] if use_cache else ["--no-cache"]
    entries = {}
    for target in targets or IMAGES:
        name = IMAGES[target]
        full = f"{registry.rstrip('/')}/{name}" if registry else name
        _build(tool, target, f"{full}:{tag}", options)
        digest = {"digest": _push(tool, f"{full}:{tag}")} if registry else {}
        entries[name] = {"name": name, "newName": full, "newTag": tag} | digest
    write([entries.get(entry["name"], entry) for entry in _recorded()["images"]])


def _build(tool: str, target: str, image: str, options: Sequence[str]) -> None:
    if _is_podman(tool) and "/" not in image:
        image = f"docker.io/library/{image}"  # where a cluster looks for it; podman's own default is localhost/
    file = ROOT / "components" / "images" / "Dockerfile"
    _run(tool, "build", "--file", str(file), "--target", target, "--tag", image, *options, str(ROOT))


def _is_podman(tool: str) -> bool:
    return Path(tool).name == "podman"


def write(entries: list[dict[str, str]], file: Path = FILE) -> None:
    """Replaces the images in the file and keeps its leading comment."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    comment = "".join(line for line in lines if line.startswith("#"))
    content = _recorded(file) | {"images": entries}
    write_aside(file, f"{comment}{yaml.safe_dump(content, sort_keys=False)}".encode())


def _recorded(file: Path = FILE) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def _push(tool: str, image: str) -> str:
    """Pushes an image and returns its digest in the registry."""
    if _is_podman(tool):
        with tempfile.NamedTemporaryFile("r") as digest:
            _run(tool, "push", "--digestfile", digest.name, image)
            return digest.read().strip()
    _run(tool, "push", image)
    shown = subprocess.run([tool, "image", "inspect", image], check=True, capture_output=True, text=True).stdout
    name = image.rpartition(":")[0]
    digests: list[str] = json.loads(shown)[0]["RepoDigests"]
    return next(digest.removeprefix(f"{name}@") for digest in digests if digest.startswith(f"{name}@"))


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        raise UserError(f"`{' '.join(command)}` ended with status {error.returncode}; see above.") from None
