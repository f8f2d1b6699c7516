"""Tests of `colorize models`, `promote` and `rollback` on a registry with three versions."""

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
    return done.stdout


@pytest.fixture
def three(retrain: Retrain) -> None:
    """Registers three versions: 1 was the first champion, 2 replaced it, 3 was rejected."""
    retrain(0.5)
    retrain(0.52, 0.5)
    retrain(0.51, 0.52)


def test_the_table_shows_metrics_changes_and_verdicts(three: None) -> None:
    rows = [line.split("│")[1:-1] for line in colorize("models").splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [(row[0], row[1], row[2], row[-1]) for row in cells] == [
        ("3", "challenger", "8 (-0.1)", "reject"),
        ("2", "champion", "8 (-0.1)", "promote"),
        ("1", "previous", "8", "promote"),
    ]
    assert cells[0][5:8] == [TAGS["data_version"][:8], TAGS["git_commit"][:8], TAGS["recipe"]]


def test_show_prints_origin_verdict_and_a_note_without_a_manifest(three: None, dataset: Path, workplace: Path) -> None:
    shown = colorize("models", "show", "3")
    for fact in (TAGS["git_commit"], TAGS["data_version"], TAGS["recipe"], registry.get(3).weights_sha256):
        assert fact in shown
    assert "fails: 0.51 is worse by 0.01" in " ".join(shown.replace("│", " ").split())
    assert "No manifest was kept" in CliRunner().invoke(app, ["models", "show", "3"]).stderr


def test_promote_and_rollback_move_the_champion_and_record_the_reasons(three: None) -> None:
    assert colorize("promote", "challenger", "--reason", "skies") == "champion is version 3.\n"
    assert colorize("rollback", "--reason", "green skies") == "champion is version 2.\n"
    assert aliases() == {"challenger": 3, "champion": 2, "previous": 3}
    lines = [line for line in colorize("models", "history").splitlines() if line.startswith("│")]
    assert [("skies" in line, "rollback" in line) for line in lines[:2]] == [(True, True), (True, False)]
    assert len(lines) == 4


def test_a_missing_version_or_alias_is_named(three: None) -> None:
    with pytest.raises(UserError, match="no version 9"):
        colorize("promote", "9")
    with pytest.raises(UserError, match="no nonsense yet"):
        colorize("models", "show", "nonsense")


def test_compare_shows_the_differences_of_two_versions_with_intervals(
    three: None, dataset: Path, workplace: Path
) -> None:
    shown = colorize("models", "compare", "2", "1", "--dataset", str(dataset), "--out", str(workplace / "out"))
    assert "version 2" in shown
    assert "95 % interval" in shown
    result = json.loads((workplace / "out" / "metrics.json").read_bytes())
    low, high = (result["difference"]["l1_ab"][end] for end in ("low", "high"))
    assert f"{low:+.2g} to {high:+.2g}" in shown
    assert (workplace / "out" / "side_by_side.png").stat().st_size > 1000
    assert "version 2" in (workplace / "out" / "report.html").read_text(encoding="utf-8")


def test_list_show_history_and_compare_also_print_json(three: None, dataset: Path, workplace: Path) -> None:
    listed = json.loads(colorize("models", "--json"))
    assert listed == json.loads(colorize("models", "list", "--json"))
    assert [(row["version"], row["aliases"], row["verdict"]) for row in listed] == [
        (3, ["challenger"], "reject"),
        (2, ["champion"], "promote"),
        (1, ["previous"], "promote"),
    ]
    assert (listed[0]["metrics"]["l1_ab"], listed[0]["champion_metrics"]["l1_ab"]) == (8.0, 8.1)
    shown = json.loads(colorize("models", "show", "champion", "--json"))
    assert (shown["version"], shown["data_version"]) == (2, TAGS["data_version"])
    assert shown["weights"].endswith("/artifacts/generator")
    assert (shown["slices"]["people"]["photographs"], shown["slices"]["people"]["l1_ab"]) == (40, 8.0)
    for words in ("By folder and label", "people", "8 (7.1 to 9.2)"):
        assert words in colorize("models", "show", "champion")
    moves = json.loads(colorize("models", "history", "--json"))
    assert [(move["version"], move["origin"]) for move in moves] == [(2, 1), (1, None)]
    options = ("--dataset", str(dataset), "--out", str(workplace / "out"), "--json")
    compared = json.loads(colorize("models", "compare", "2", "1", *options))
    assert compared["difference"]["l1_ab"]["confidence"] == 0.95


def test_an_export_can_be_imported_into_another_registry(three: None, workplace: Path, tmp_path: Path) -> None:
    shipped = workplace / "shipped"
    assert colorize("models", "export", "champion", "--out", str(shipped)) == f"{shipped} holds version 2.\n"
    assert colorize("models", "import", str(shipped)) == "version 2: champion.\n", "it is there already"
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "elsewhere" / "workspace").mkdir(parents=True)
        patch.chdir(tmp_path / "elsewhere")
        assert colorize("models", "import", str(shipped)) == "version 1: champion.\n"
        assert registry.checksum(registry.fetch("models:/colorizer@champion")) == registry.checksum(shipped)


def test_an_export_with_onnx_names_missing_packages(
    three: None, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = workplace / "shipped"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install with `.*onnx onnxscript`"):
        colorize("models", "export", "champion", "--onnx", "--out", str(shipped))
    assert not shipped.exists()
    monkeypatch.undo()


def test_an_export_with_onnx_has_the_inputs_of_the_generator(three: None, workplace: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    shipped = workplace / "shipped"
    colorize("models", "export", "champion", "--onnx", "--out", str(shipped))
    described = onnx.load(shipped / "generator.onnx", load_external_data=False)
    assert [value.name for value in described.graph.input] == ["L", "z"]


def test_prune_deletes_the_oldest_versions_without_an_alias(three: None, retrain: Retrain) -> None:
    retrain(0.515, 0.52)  # the challenger now, so that 3 has no alias
    retrain(0.516, 0.52)
    assert colorize("models", "prune", "--keep", "2", "--yes") == ""
    assert colorize("models", "prune", "--keep", "1", "--dry-run") == "would delete version 3\n"
    refused = CliRunner().invoke(app, ["models", "prune", "--keep", "0"], input="n\n")
    assert refused.exit_code == 1
    assert [version.number for version in registry.find_all({})] == [1, 2, 3, 4, 5]
    assert colorize("models", "prune", "--keep", "1", "--yes") == "deleted version 3\n"
    assert colorize("models", "prune", "--keep", "0", "--yes") == "deleted version 4\n"
    assert aliases() == {"challenger": 5, "champion": 2, "previous": 1}
