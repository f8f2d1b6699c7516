"""The project's Python files, parsed."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("model", "components", "pipeline", "serving", "benchmarks", "k8s")


def sources(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Yields each file's path from the root, with forward slashes, and its syntax tree; by default, of all packages."""
    for package in packages or PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
