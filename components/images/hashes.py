"""A hash of the code behind each step, so that caches notice a change.

Kubeflow's cache key holds the few lines of a component, not the code that they import. So the hash of all code that
the step imports is a parameter of the component. `colorize steps --code DIR` writes the hashes to files for DVC. The
Dockerfile calls `python -m components.images.hashes COMMIT FILE`: an image says what code it holds, and
`components.shared.machine.code` compares.
"""

import hashlib
import json
import os
import sys
from functools import cache
from pathlib import Path

import grimp

from components.shared.machine.root import CODE, INSTALLED, ROOT

_PACKAGES = ("model", "components")


@cache
def _imports() -> grimp.ImportGraph:
    cached = os.access(CODE, os.W_OK) and not INSTALLED
    return grimp.build_graph(*_PACKAGES, cache_dir=str(CODE / ".grimp_cache") if cached else None)


@cache
def code_version(step: str) -> str:
    """Returns the first 16 hex digits of the SHA-256 of components/<step>/, its imports of ours, and the lock file.

    The component.py is left out: Kubeflow's own key holds it.
    """
    files = {path for path in (CODE / "components" / step).iterdir() if path.is_file()}
    modules = {f"components.{step}.step"}
    modules.update(_imports().find_upstream_modules(f"components.{step}.step"))
    for module in modules:
        path = CODE.joinpath(*module.split("."))
        files.add(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
    named = {file.relative_to(CODE): file for file in files if file.name != "component.py" and file.exists()}
    lock = Path("requirements.txt")
    digest = hashlib.sha256()
    for name, file in sorted((named | {lock: ROOT / lock}).items()):
        digest.update(str(name).encode() + b"\0")
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def write(commit: str, file: Path) -> None:
    """Writes what an image says of its code: the git commit, and the hash of each step."""
    steps = sorted(path.parent.name for path in (CODE / "components").glob("*/step.py") if path.parent.name != "shared")
    code = {step: code_version(step) for step in steps}
    file.write_text(json.dumps({"git_commit": commit, "code": code}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
