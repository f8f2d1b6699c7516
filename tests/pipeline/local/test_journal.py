"""Tests of the journal of a run after a kill or on a full disk."""

from pathlib import Path

import pytest

from components.shared.step import JOURNAL, step
from pipeline.local import journal


@pytest.mark.parametrize("torn", ['{"step": "merge", "seco', "{", '{"step": "merge"}'[:-1]])
def test_a_torn_last_line_is_one_that_was_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: str):
    path = tmp_path / "journal.jsonl"
    monkeypatch.setenv(JOURNAL, str(path))
    monkeypatch.setenv("COLORIZE_WORKSPACE", str(tmp_path))
    with step("preprocess"):
        pass
    with path.open("a", encoding="utf-8") as file:
        file.write(torn)
    assert list(journal.entries(path)) == ["preprocess"]
    results, _ = journal.read(path, journal.expected(["small"]), ended_by="merge")
    assert {result.step: result.outcome for result in results}["merge"] == "failed"
    with step("inspect"):
        pass
    assert list(journal.entries(path)) == ["preprocess", "inspect"]
