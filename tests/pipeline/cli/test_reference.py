"""Tests of the command line's help and of docs/reference/cli.md, which is generated from it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from pipeline.cli import reference
from pipeline.cli.main import app
from tests.support.patience import patience

HEAVY = {"torch", "mlflow", "kfp", "dvc", "pandas", "matplotlib"}
HELP = f"""
import json, sys
from typer.testing import CliRunner
from pipeline.cli.main import app
for words in json.loads(sys.argv[1]):
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0, words
print(json.dumps(sorted({HEAVY!r} & sys.modules.keys())))
"""


def names(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the words of every command and group."""
    command = command or get_command(app)
    yield words
    for word, each in getattr(command, "commands", {}).items():
        yield from names(each, (*words, word))


def test_the_reference_page_is_current() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.text(), "run `colorize compile` and commit the page"


def test_help_loads_no_heavy_package() -> None:
    command = [
        sys.executable,
        "-c",
        HELP,
        json.dumps([words for words in names() if words != ("step",)]),
    ]  # kfp lists the steps
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=patience(120))
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("words", names(), ids=" ".join)
def test_every_command_and_option_is_described(words: tuple[str, ...]) -> None:
    command: Any = get_command(app)
    for word in words:
        command = command.commands[word]
    assert command.help
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert parameter.help[0].isupper() or parameter.help.startswith(("models:", "docker")), parameter.help
        assert parameter.help.endswith("."), parameter.help


def test_help_of_a_group_names_its_default() -> None:
    for group, default in (("models", "list"), ("schedule", "apply")):
        shown = CliRunner().invoke(app, [group, "--help"]).output
        assert f"Without a command: {default}." in shown
