"""Builds and pushes the container images."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from components.images.names import FILE
from components.shared.machine.code import git_commit
from model.utils.errors import UserError
from pipeline import ROOT

IMAGES = {target: f"colorize-python-{target}" for target in ("cpu", "gpu", "serving")}
"""Target of components/images/Dockerfile -> name of the image."""

_GENERATED = (":!k8s/images", ":!pipeline/retraining.yaml")  # written by `build` and by `colorize compile`


def build(registry: str = "", tool: str = "", build_args: Sequence[str] = ()) -> None:
    """Builds every image, tags it with the git commit, and records its name in `components.images.names.FILE`.

    Kustomize and `colorize compile` read that file.

    Args:
        registry: where to push to, such as ghcr.io/acme; its digests are recorded, too. Empty: nothing is pushed.
        tool: docker or podman; empty: the first one that is installed.
        build_args: NAME=VALUE of the Dockerfile.

    Raises:
        UserError: no tool is installed, a push has uncommitted changes, or the tool fails.
    """
    tool = tool or next(filter(shutil.which, ("docker", "podman")), "")
    if not tool:
        raise UserError("Neither docker nor podman is installed; install one of them.")
    tag = _tag()
    if registry and (tag == "unknown" or tag.endswith("-dirty")):
        raise UserError("Refusing to push images of uncommitted changes. Commit them first.")
    file, entries = ROOT / "components" / "images" / "Dockerfile", []
    arguments = [f"--build-arg={argument}" for argument in (*build_args, f"REVISION={tag}")]
    for target, name in IMAGES.items():
        full = f"{registry.rstrip('/')}/{name}" if registry else name
        image = f"{full}:{tag}"
        _run(tool, "build", "--file", str(file), "--target", target, "--tag", image, *arguments, str(ROOT))
        digest = {"digest": _push(tool, image)} if registry else {}
        entries.append({"name": name, "newName": full, "newTag": tag} | digest)
    write(entries)


def _tag() -> str:
    """Returns the git commit, followed by -dirty if the working tree differs from it."""
    commit = git_commit().removesuffix("-dirty")
    command = ["git", "-C", str(ROOT), "status", "--porcelain", "--", ".", *_GENERATED]
    changed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return f"{commit}-dirty" if changed else commit


def write(entries: list[dict[str, str]], file: Path = FILE) -> None:
    """Replaces the images in the file and keeps its leading comment."""
    before = file.read_text(encoding="utf-8")
    comment = "".join(line for line in before.splitlines(keepends=True) if line.startswith("#"))
    content = yaml.safe_load(before) | {"images": entries}
    file.write_text(comment + yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _push(tool: str, image: str) -> str:
    """Pushes an image and returns its digest in the registry."""
    if Path(tool).name == "podman":
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
