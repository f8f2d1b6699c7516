"""Tests of `python -m benchmarks`."""

import pytest

from benchmarks.__main__ import benchmarks, main, program
from benchmarks.speed import PROGRAMS
from benchmarks.tools import FOLDER


def test_the_list_holds_every_benchmark_with_its_summary(capsys: pytest.CaptureFixture[str]):
    main([])
    printed = capsys.readouterr().out
    assert set(PROGRAMS) < benchmarks().keys()
    assert all(f"{name} " in printed and summary in printed for name, summary in benchmarks().items())
    assert all(summary.endswith(".") or "`" in summary for summary in benchmarks().values())


def test_a_benchmark_is_run_with_its_options(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main(["speed", "--help"])
    assert "Usage: python -m benchmarks speed" in capsys.readouterr().out


@pytest.mark.parametrize("name", benchmarks())
def test_every_benchmark_can_be_imported(name: str):
    assert program(name).__doc__


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main(["sped"])
    assert "no benchmark is named sped; choose from" in capsys.readouterr().err


def test_the_readme_names_every_benchmark():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"python -m benchmarks {name}" in text or f"`{name}`" in text for name in benchmarks())
