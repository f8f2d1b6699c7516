"""Tests of sizes and entry points: short files, short functions, and few modules that run as programs."""

import ast

from tests.support.source import PACKAGES, ROOT, sources

MAX_LINES = 300
MAX_FUNCTION_LINES = 60
PROGRAMS = {
    "pipeline/cli/main.py",
    "components/train/worker.py",  # torchrun starts it
    "components/images/hashes.py",  # the image build runs it
    "components/images/without_cuda.py",  # so does it run this
    "k8s/check/__main__.py",
    "benchmarks/__main__.py",
    "k8s/base/backup/backup.py",  # a CronJob mounts and runs it
}

LONG = {"pipeline/graph.py:build", "pipeline/graph.py:retraining"}
"""The graph is one function, read from top to bottom."""

SIZED = tuple(package for package in PACKAGES if package != "benchmarks")


def long_files() -> dict[str, int]:
    """Returns the number of lines of each file that is too long."""
    lines = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path, _ in sources(*SIZED)}
    return {path: count for path, count in lines.items() if count > MAX_LINES}


def long_functions() -> dict[str, int]:
    """Returns the number of lines of each function that is too long, decorators aside."""
    lines = {
        f"{path}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, tree in sources(*SIZED)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return {name: count for name, count in lines.items() if count > MAX_FUNCTION_LINES}


def programs() -> set[str]:
    """Returns the files that compare __name__ with "__main__"."""
    return {
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and ast.unparse(node).replace("'", '"') == '__name__ == "__main__"'
    }


def test_files_and_functions_are_short() -> None:
    found = long_files() | long_functions()
    assert not found.keys() - LONG, {name: found[name] for name in found.keys() - LONG}


def test_few_modules_run_as_programs() -> None:
    found = programs() - PROGRAMS
    assert not found, f"make it a command of `colorize`: {', '.join(sorted(found))}"
