"""Finds data/ and champion/: in the checkout, or in the workspace where the checkout is read-only."""

import os
from pathlib import Path

from components.shared.machine.workspace import workspace


def read_only(root: Path) -> bool:
    """Tells whether a checkout is one that DVC cannot write to."""
    return not all(os.access(folder, os.W_OK) for folder in (root, root / ".dvc") if folder.is_dir())


def filled(folder: Path) -> bool:
    """Tells whether a folder holds a file, at any depth, or is a file."""
    return folder.is_file() or any(path.is_file() for path in folder.rglob("*"))


def located(root: Path, name: str) -> Path:
    """Returns where the files of <name>.dvc are, or belong: in the checkout, or in the workspace if it is read-only."""
    return root / name if filled(root / name) or not read_only(root) else copy_of_read_only() / name


def copy_of_read_only() -> Path:
    """Returns the folder of the workspace that stands for a read-only checkout: for DVC, and for what it brings."""
    return workspace() / "checkout"
