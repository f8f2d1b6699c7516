"""Tests of the command line: errors in one line, exit statuses, old names, completion and dry runs."""

import contextlib
import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from pipeline import ROOT
from tests.support.command import colorize
from tests.support.patience import patience

COLORIZE = Path(sys.executable).with_name("colorize")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--recipe", "nonesuch"), ("nonesuch", "demo")),
        (("run", "--set", "train.imgs=3"), ("train.imgs", "not a known key")),
        (("run", "--set", "train.images=-1"), ("train.images", "-1", "greater than or equal to 1")),
        (("run", "--set", "train.decay=slow"), ("train.decay", "slow", "'linear'")),
        (("run", "--set", "train.images"), ("key=value",)),
        (("run", "--set", "train.crop=512"), ("train.crop", "preprocess.size")),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(arguments: tuple[str, ...], words: tuple[str, ...]):
    done = colorize(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_compile_check_reports_that_the_yaml_is_current():
    """Runs the installed program, as a user does."""
    done = subprocess.run(
        [COLORIZE, "compile", "--check"], capture_output=True, text=True, check=False, timeout=patience(120)
    )
    assert done.returncode == 0
    assert "is current" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "--sweep", "demo,small"), "`colorize run --sweep` is now `colorize run --variants`."),
        (("run", "--recipe", "small", "--sweep=a,b"), "`colorize run --sweep` is now `colorize run --variants`."),
        (("submit", "--sweep", "demo,small"), "`colorize submit --sweep` is now `colorize submit --variants`."),
        (("schedule", "--check"), "`colorize schedule --check` is now `colorize schedule diff --exit-code`."),
    ],
)
def test_an_old_name_is_refused_with_the_new_one(arguments: tuple[str, ...], sentence: str) -> None:
    done = colorize(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{sentence}\n")


@pytest.mark.parametrize(
    ("module", "new"),
    [
        ("components.train", "colorize step train"),
        ("pipeline.data", "colorize data"),
        ("pipeline.cli", "colorize"),
        ("pipeline.images", "colorize images build"),
    ],
)
def test_an_old_module_is_refused_with_the_new_command(module: str, new: str) -> None:
    command = [sys.executable, "-m", module, "version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"`python -m {module}` is now `{new}`.\n")


@pytest.mark.parametrize(
    "options", [("-mpipeline.data",), ("-Im", "pipeline.data"), ("-W", "ignore", "-m", "pipeline.data")]
)
def test_pythons_other_ways_to_name_a_module_are_understood(options: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "`python -m pipeline.data` is now `colorize data`.\n")
    options = (*options[:-1], options[-1].replace("pipeline.data", "pipeline.cli.main"), "--version")
    assert subprocess.run([sys.executable, *options], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("arguments", [("bananas",), ("run", "--bananas"), ("models", "shwo"), ("schedule", "dif")])
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    done = colorize(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such" in done.stderr


@pytest.mark.parametrize("arguments", ["steps", "steps --json", "run --recipe nonesuch"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_status_and_get_no_traceback(arguments: str, closed: str) -> None:
    command = f"{shlex.quote(str(COLORIZE))} {arguments} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == (1 if "nonesuch" in arguments else 0), done.stderr
    assert "Traceback" not in done.stderr
    assert "error" not in done.stdout


def test_a_reader_that_ends_early_gets_no_traceback() -> None:
    command = f"{shlex.quote(str(COLORIZE))} run --help | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_version_names_the_release_and_the_commit() -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert colorize("--version").stdout.startswith(f"colorize {version('colorize')}, commit {head.stdout.strip()}")


def test_the_shell_completes_commands() -> None:
    words = {"_COLORIZE_COMPLETE": "complete_bash", "COMP_WORDS": "colorize mod", "COMP_CWORD": "1"}
    done = subprocess.run(
        [COLORIZE], capture_output=True, text=True, env=os.environ | words, check=False, timeout=patience(120)
    )
    assert done.stdout.split() == ["models"]


def test_a_dry_run_shows_the_plan_and_runs_nothing(tmp_path: Path) -> None:
    options = ("--recipe", "small", "--variants", "train.seed=1,train.seed=2", "--photos", str(tmp_path))
    done = subprocess.run(
        [COLORIZE, "run", *options, "--dry-run"],
        capture_output=True,
        text=True,
        env=os.environ | {"COLORIZE_WORKSPACE": str(tmp_path / "workspace")},
        check=True,
        timeout=patience(120),
    )
    plan = yaml.safe_load(done.stdout)
    assert plan["photos"] == str(tmp_path)
    assert plan["data_version"].endswith(".dir")
    assert plan["workspace"] == str(tmp_path / "workspace")
    assert list(plan["variants"]) == ["train.seed=1", "train.seed=2"]
    assert plan["variants"]["train.seed=2"]["train.seed"] == 2
    assert not (tmp_path / "workspace").exists()


@pytest.mark.parametrize("words", [("-v", "run"), ("run", "-v"), ("--verbose", "run"), ("run", "--verbose")])
def test_verbose_shows_the_traceback_of_an_error_before_its_line(words: tuple[str, ...]) -> None:
    done = colorize(*words, "--recipe", "nonesuch")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("words", [("-q", "compile"), ("compile", "--quiet")])
def test_quiet_leaves_the_result(words: tuple[str, ...]) -> None:
    done = colorize(*words, "--check")
    assert done.returncode == 0
    assert "is current" in done.stdout


@pytest.mark.parametrize("words", [("-q", "-v", "steps"), ("steps", "--quiet", "--verbose")])
def test_quiet_and_verbose_exclude_each_other(words: tuple[str, ...]) -> None:
    done = colorize(*words)
    assert done.returncode == 2
    assert "exclude each other" in done.stderr


def test_a_table_is_as_wide_as_columns_says_and_cuts_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    narrow = colorize("steps").stdout
    assert max(map(len, narrow.splitlines())) <= 80
    assert "…" not in narrow
    monkeypatch.setenv("COLUMNS", "40")
    rows = colorize("steps").stdout
    assert max(map(len, map(str.rstrip, rows.splitlines()))) <= 40
    assert "registration" in rows
    monkeypatch.delenv("COLUMNS")
    assert "model, evaluation, inspection" in colorize("steps").stdout, "in a pipe a row is a line"


def test_no_color_takes_the_colors_of_a_terminal_away() -> None:
    color = re.compile(r"\x1b\[[\d;]*3\dm")
    for arguments in (("run", "--help"), ("steps",)):
        plain = in_a_terminal(*arguments, NO_COLOR="1")
        assert not color.search(plain)
        assert max(map(len, re.sub(r"\x1b\[[\d;?]*\w", "", plain).splitlines())) <= 80


@pytest.mark.parametrize("command", ["", "photo", "web", "submit", "step", "step resolve", "models", "data fetch"])
def test_help_fits_on_80_columns_and_cuts_no_word(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = colorize(*command.split(), "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout
    assert not [line for line in done.stdout.splitlines()[1:] if line.endswith("...")]


def in_a_terminal(*arguments: str, **more: str) -> str:
    """Returns what a command prints on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
    process = subprocess.Popen(
        [COLORIZE, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=clean | {"TERM": "xterm-256color"} | more,
    )
    os.close(theirs)
    printed = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 65536):
            printed += piece
    os.close(ours)
    assert process.wait(60) == 0, printed
    return printed.decode()
