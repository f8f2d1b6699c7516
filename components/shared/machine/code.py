"""The code at hand: its git commit, and the check that an image holds the code that a run was submitted with."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.machine.root import INSTALLED, ROOT
from model.utils.errors import UserError

OF_PACKAGE = "commit.txt"
"""File of an installed package's git commit. A checkout has none."""

OF_IMAGE = ROOT / "image.json"
"""Git commit of an image and the hashes of its code, as `components.images.hashes` wrote them. A checkout has none."""

UNKNOWN = "this folder is no git clone, or git is not installed; install git and clone the repository with it"
"""Reason of an unknown commit, and the remedy."""


def require_submitted(codes: Mapping[str, str], commit: str = "") -> None:
    """Checks that the image that this runs in holds the code that a run was submitted with. Elsewhere it does nothing.

    A run carries the hashes of its submitter's checkout, and what the steps leave is kept under them.

    Args:
        codes: folder of a step below components/ -> hash of the code behind it in that checkout.
        commit: git commit of that checkout, where it is known.

    Raises:
        UserError: the image holds other code of a step; names both commits.
    """
    image = _of_image()
    others = [step for step, code in codes.items() if image and image["code"].get(step) != code]
    if others:
        checkout = f"commit {commit}" if commit else "another checkout"
        raise UserError(
            f"The image was built from commit {image['git_commit']} and the run submitted from {checkout}; the code of "
            f"{', '.join(others)} differs. Run `make images` and submit again, or submit from the image's commit."
        )


def git_commit() -> str:
    """Returns HEAD, with -dirty behind it when a file images are built from differs; in an image or package, its own.

    Without git, and in a folder that is no clone, such as an unpacked ZIP: "unknown".
    """
    if image := _of_image():
        return str(image["git_commit"])
    if INSTALLED:
        return (ROOT / OF_PACKAGE).read_text(encoding="utf-8").strip()
    try:
        top, commit = _git("rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top).resolve() != ROOT:  # unpacked within another repository
            return "unknown"
        return commit + ("-dirty" if _git("status", "--porcelain", "--", *_built_from()) else "")
    except (subprocess.CalledProcessError, OSError, ValueError):
        return "unknown"


def _of_image() -> dict[str, Any]:
    return json.loads(OF_IMAGE.read_text(encoding="utf-8")) if OF_IMAGE.exists() else {}


def _built_from() -> list[str]:
    """Returns the files that images are built from, as git's pathspecs: what .dockerignore lets into a build.

    What `make images` writes is not among them.
    """
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if not line.startswith(("#", "*"))]
    return [line[1:] if line.startswith("!") else f":!{line}" for line in patterns]


def _git(*command: str) -> str:
    """Runs git without writing to the checkout. It may be another user's: its code runs here anyway."""
    git = ["git", "--no-optional-locks", "-c", f"safe.directory={ROOT}", "-C", str(ROOT)]
    return subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
