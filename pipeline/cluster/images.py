"""Builds the container images, and pushes them when a registry is named: `make images`.

Each is tagged with the git commit. Tags, and the digests that the registry gives, land in
components.images.names.FILE, which kustomize and `colorize compile` read.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import yaml

from components.images.names import FILE
from components.shared.machine.code import git_commit
from components.shared.step import step
from model.utils.errors import UserError
from pipeline import ROOT

IMAGES = {target: f"colorize-python-{target}" for target in ("cpu", "gpu", "serving")}
"""Target in components/images/Dockerfile -> name of the image."""

_WRITTEN_HERE = (":!k8s/images", ":!pipeline/retraining.yaml")  # by this, and by the compilation after it


def main(
    registry: Annotated[str, typer.Option(help="Push there, such as ghcr.io/acme; otherwise nothing is pushed.")] = "",
    tool: Annotated[str, typer.Option(help="docker or podman; by default the one that there is.")] = "",
    build_args: Annotated[
        list[str] | None,
        typer.Option("--build-arg", metavar="NAME=VALUE", help="Such as BASE=...; see the Dockerfile."),
    ] = None,
) -> None:
    """Builds every image of components/images/Dockerfile and writes down what it is called."""
    with step("images"):
        tool = tool or next(filter(shutil.which, ("docker", "podman")), "")
        if not tool:
            raise UserError("Neither docker nor podman is installed; install one of them.")
        tag = _tag()
        if registry and (tag == "unknown" or tag.endswith("-dirty")):
            raise UserError("The images would hold what no commit holds; commit your changes, then push.")
        entries = []
        for target, name in IMAGES.items():
            full = f"{registry.rstrip('/')}/{name}" if registry else name
            arguments = [f"--build-arg={argument}" for argument in (*(build_args or ()), f"REVISION={tag}")]
            file = ROOT / "components" / "images" / "Dockerfile"
            _run(
                tool, "build", "--file", str(file), "--target", target, "--tag", f"{full}:{tag}", *arguments, str(ROOT)
            )
            entry = {"name": name, "newName": full, "newTag": tag}
            entries.append(entry | ({"digest": _push(tool, f"{full}:{tag}")} if registry else {}))
        write(entries)
        print(f"{FILE.relative_to(ROOT)} names them; `colorize compile` takes them into the pipeline.")


def _tag() -> str:
    """The git commit, with -dirty behind it when the images may hold something else."""
    commit = git_commit().removesuffix("-dirty")
    command = ["git", "-C", str(ROOT), "status", "--porcelain", "--", ".", *_WRITTEN_HERE]
    changed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return f"{commit}-dirty" if changed else commit


def write(entries: list[dict[str, str]], file: Path = FILE) -> None:
    """Replaces the file's images; its comment at the top stays."""
    before = file.read_text(encoding="utf-8")
    comment = "".join(line for line in before.splitlines(keepends=True) if line.startswith("#"))
    content = yaml.safe_load(before) | {"images": entries}
    file.write_text(comment + yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _push(tool: str, image: str) -> str:
    """Returns the digest under which the registry holds the image."""
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


if __name__ == "__main__":
    typer.run(main)
