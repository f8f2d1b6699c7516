"""Tests of what a person sees of a run: a live table on a terminal, lines elsewhere, nothing with --quiet."""

import io
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from components.shared.machine import records, verbosity
from components.shared.machine.progress import Position, progress
from pipeline.local import view as views
from pipeline.local.console import StepLines
from pipeline.local.journal import expected
from pipeline.local.view import Lines, LiveTable, View, view

NAMES = expected(["small"])
HALFWAY = Position("train", "images", 48, 96, 4.0, 12.0, ended=False)


@pytest.fixture
def records_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(records.VARIABLE, "1")


def sent(capsys: pytest.CaptureFixture[str], **values: object) -> str:
    """Returns the line by which a step sends a record, indented as kfp prints it."""
    records.send(**values)
    return f"    {capsys.readouterr().err}"


@pytest.mark.usefixtures("records_on")
def test_a_log_and_a_pipe_get_lines_and_no_records(capsys: pytest.CaptureFixture[str]) -> None:
    story = [
        "    [KFP Executor 2026 INFO]: Got executor_input:\n    {\n        \"inputs\": {}\n    }\n",
        sent(capsys, step="merge"),
        "    46 photographs: 0 known, 46 new\n",
        sent(capsys, step="merge", outcome="done", seconds=2.5),
        sent(capsys, step="train small"),
        sent(capsys, progress=asdict(HALFWAY)),
        "    \x1ebroken\n",
        "    [KFP Executor 2026 WARNING]: disk is slow\n",
        sent(capsys, progress=asdict(Position("train", "images", 96, 96, 8.0, 12.0, ended=True))),
        '    {"outcome": "promoted", "version": 1}\n',
    ]  # fmt: skip
    log = io.StringIO()
    lines = StepLines(Lines(NAMES), log)
    for text in story:
        lines.write(text)
    assert capsys.readouterr().err.splitlines() == [
        "partition: reused",
        "preprocess: reused",
        "46 photographs: 0 known, 46 new",
        "merge: done, 2.5 s",
        "inspect: reused",
        "broken",
        "warning: disk is slow",
        "train: 96 of 96 images in 8.0 s, 12/s",
    ]
    assert lines.outcome == {"outcome": "promoted", "version": 1}
    assert "train: 96 of 96 images in 8.0 s, 12/s" in log.getvalue()
    assert '{"outcome": "promoted"' in log.getvalue()
    assert '"progress"' not in log.getvalue()


@pytest.mark.usefixtures("records_on")
def test_a_step_of_a_run_sends_its_progress_even_where_its_run_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(verbosity.VARIABLE, "quiet")
    with progress(2, "color", "photographs") as advance:
        advance(2)
    found = records.read(capsys.readouterr().err)
    assert found
    assert Position(**found["progress"]).done == 2


def shown(table: LiveTable) -> list[str]:
    """Returns the lines of the table as they stand on a terminal of 80 columns."""
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_live_table_shows_all_steps_within_80_columns() -> None:
    screen = io.StringIO()
    with LiveTable(NAMES, Console(file=screen, force_terminal=True, width=80, height=24)) as table:
        table.begins("resolve")
        table.ends("resolve", "done", 3.0)
        table.begins("train small")
        table.moves(HALFWAY)
        table.says("[a line in brackets]")
        rows = shown(table)
    assert "[a line in brackets]" in screen.getvalue()
    assert any("48 of 96 images, 4 s left" in row for row in rows)
    words = {name: outcome for name, outcome, *_ in map(str.split, shown(table))}
    assert list(words) == list(NAMES.values())
    assert (words["resolve"], words["partition"], words["train"]) == ("done", "reused", "failed"), "it never ended"
    assert words["report"] == "not"


def test_a_table_taller_than_the_screen_shows_the_step_at_work() -> None:
    many = expected([f"train.seed={seed}" for seed in range(20)])
    with LiveTable(many, Console(file=io.StringIO(), force_terminal=True, width=80, height=12)) as table:
        for step in list(many)[:30]:
            table.begins(step)
            table.ends(step, "done", 1.0)
        table.begins(list(many)[30])
        rows = shown(table)
    assert sum("running" in row for row in rows) == 1
    assert len(rows) == 10


@pytest.mark.parametrize(
    ("terminal", "quiet", "kind"), [(True, "", LiveTable), (False, "", Lines), (True, "quiet", View)]
)
def test_the_view_suits_stderr_and_quiet(
    terminal: bool, quiet: str, kind: type[View], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(views.sys, "stderr", stream)
    monkeypatch.setenv(verbosity.VARIABLE, quiet)
    monkeypatch.setenv("TERM", "xterm")
    assert type(view(NAMES)) is kind


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(views.sys, "stderr", stream)
    monkeypatch.setenv("TERM", "dumb")
    assert type(view(NAMES)) is Lines
