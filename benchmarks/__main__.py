"""Runs a benchmark: `python -m benchmarks NAME [OPTIONS]`; without a name, lists the benchmarks."""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import typer

import components  # noqa: F401 - sets the threads of PyTorch before a benchmark loads it
from benchmarks.tools import FOLDER


def benchmarks() -> dict[str, str]:
    """Returns the first docstring line of every benchmark, by name: a file, or a folder with main.py."""
    files = {path.stem: path for path in FOLDER.glob("*.py")}
    files |= {path.parent.name: path for path in FOLDER.glob("*/main.py")}
    return {name: _summary(files[name]) for name in sorted(files.keys() - {"__init__", "__main__", "tools"})}


def program(name: str) -> Callable[..., None]:
    """Imports the function that runs a benchmark."""
    module = f"benchmarks.{name}.main" if (FOLDER / name / "main.py").is_file() else f"benchmarks.{name}"
    function: Callable[..., None] = importlib.import_module(module).main
    return function


def _summary(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def main(arguments: list[str]) -> None:
    """Runs the named benchmark with the other arguments."""
    known = benchmarks()
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m benchmarks NAME [OPTIONS]; NAME --help lists the options\n")
        print("\n".join(f"  {name:<12}{summary}" for name, summary in known.items()))
        return
    name, *options = arguments
    if name not in known:
        print(f"error: no benchmark is named {name}; choose from {', '.join(known)}.", file=sys.stderr)
        sys.exit(2)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(program(name))
    app(options, prog_name=f"python -m benchmarks {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
