"""`colorize models`, `promote` and `rollback`, as a person types them, on a registry with three versions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.shared.mlflow import registry
from model.utils.errors import UserError
from pipeline.cli.main import app
from tests.support.retrained import TAGS, aliases

Retrain = Callable[..., dict[str, Any]]


def colorize(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


@pytest.fixture
def three(retrain: Retrain) -> None:
    """1 was the first champion, 2 replaced it, 3 was rejected."""
    retrain(0.5)
    retrain(0.52, 0.5)
    retrain(0.51, 0.52)


def test_the_table_has_figures_changes_and_verdicts(three: None) -> None:
    rows = [line.split("│")[1:-1] for line in colorize("models").splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [(row[0], row[1], row[2], row[-1]) for row in cells] == [
        ("3", "challenger", "0.51 (-0.01)", "reject"),
        ("2", "champion", "0.52 (+0.02)", "promote"),
        ("1", "previous", "0.5", "promote"),
    ]
    assert cells[0][4:7] == [TAGS["data_version"][:8], TAGS["git_commit"][:8], TAGS["recipe"]]


def test_show_goes_back_to_every_photograph(three: None, dataset: Path, workplace: Path) -> None:
    shown = colorize("models", "show", "3")
    for fact in (TAGS["git_commit"], TAGS["data_version"], TAGS["recipe"], registry.get(3).weights_sha256):
        assert fact in shown
    assert "fails: 0.51 is worse by 0.01" in " ".join(shown.replace("│", " ").split())
    assert "No manifest was kept" in shown


def test_promote_and_rollback_move_the_champion_and_the_history_says_why(three: None) -> None:
    assert colorize("promote", "challenger", "--reason", "skies") == "champion is version 3.\n"
    assert colorize("rollback", "--reason", "green skies") == "champion is version 2.\n"
    assert aliases() == {"challenger": 3, "champion": 2, "previous": 3}
    lines = [line for line in colorize("models", "history").splitlines() if line.startswith("│")]
    assert [("skies" in line, "rollback" in line) for line in lines[:2]] == [(True, True), (True, False)]
    assert len(lines) == 4


def test_what_is_not_there_is_said(three: None) -> None:
    with pytest.raises(UserError, match="no version 9"):
        colorize("promote", "9")
    with pytest.raises(UserError, match="no nonsense yet"):
        colorize("models", "show", "nonsense")


def test_compare_scores_both_on_the_same_photographs(three: None, dataset: Path, workplace: Path) -> None:
    shown = colorize("models", "compare", "2", "1", "--dataset", str(dataset), "--out", str(workplace / "out"))
    assert "version 2" in shown
    assert "95 % interval" in shown
    result = json.loads((workplace / "out" / "metrics.json").read_bytes())
    low, high = (result["difference"]["l1_ab"][end] for end in ("low", "high"))
    assert f"{low:+.2g} to {high:+.2g}" in shown
    assert (workplace / "out" / "side_by_side.png").stat().st_size > 1000
    assert "version 2" in (workplace / "out" / "report.html").read_text(encoding="utf-8")
