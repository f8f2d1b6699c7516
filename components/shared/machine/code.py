"""The git commit, and a hash of the code behind each step, so that caches notice a change.

Kubeflow's cache key holds the few lines of a component, not the code that they import. So the hash of all code that
the step imports is a parameter of the component. `colorize steps --code DIR` writes the hashes to files for DVC.
"""

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[3]
_PACKAGES = ("model", "components")


@cache
def _imports() -> grimp.ImportGraph:
    writable = os.access(ROOT, os.W_OK)  # not so in an image
    return grimp.build_graph(*_PACKAGES, cache_dir=str(ROOT / ".grimp_cache") if writable else None)


@cache
def code_version(step: str) -> str:
    """Returns the first 16 hex digits of the SHA-256 of components/<step>/, its imports of ours, and the lock file.

    The component.py is left out: Kubeflow's own key holds it.
    """
    files = {ROOT / "requirements.txt"}
    files.update(path for path in (ROOT / "components" / step).iterdir() if path.is_file())
    modules = {f"components.{step}.step"}
    modules.update(_imports().find_upstream_modules(f"components.{step}.step"))
    for module in modules:
        path = ROOT.joinpath(*module.split("."))
        files.add(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
    digest = hashlib.sha256()
    for file in sorted(files):
        if file.name != "component.py" and file.exists():
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0")
            digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def git_commit() -> str:
    """Returns HEAD, with -dirty behind it when tracked files differ; "unknown" outside git or without git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown"
