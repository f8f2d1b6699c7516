"""Tests of sizes and entry points: short files, short functions, and few modules that run as programs."""

import ast

from tests.support.source import PACKAGES, ROOT, sources

MAX_LINES = 300
MAX_FUNCTION_LINES = 60
PROGRAMS = {
    "pipeline/cli/main.py",
    "components/train/worker.py",  # torchrun starts it
    "components/images/without_cuda.py",  # the image build runs it
    "k8s/check/__main__.py",
    "benchmarks/__main__.py",
}

# Exceptions that still exist. Only remove entries; a test names those that are no longer needed.
LONG_NOT_YET: set[str] = {
    "pipeline/graph.py:build",  # the graph is one function, read from top to bottom
    "pipeline/graph.py:retraining",
}
PROGRAMS_NOT_YET: set[str] = {
    "k8s/base/backup/backup.py",
}

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
    assert not found.keys() - LONG_NOT_YET, {name: found[name] for name in found.keys() - LONG_NOT_YET}


def test_few_modules_run_as_programs() -> None:
    found = programs() - PROGRAMS - PROGRAMS_NOT_YET
    assert not found, f"make it a command of `colorize`: {', '.join(sorted(found))}"


def test_layout_exceptions_are_needed() -> None:
    gone = (LONG_NOT_YET - long_files().keys() - long_functions().keys()) | (PROGRAMS_NOT_YET - programs())
    assert not gone, f"remove from the lists above: {', '.join(sorted(gone))}"
