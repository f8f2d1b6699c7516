"""Which of several variants is the best, and the page that shows them."""

import base64
import json
import math
from pathlib import Path

import pytest

from components.choose.comparison import trial
from components.choose.report import table, write_report
from components.choose.step import best, choose
from components.evaluate.step import evaluate
from components.shared.machine.workspace import VARIABLE
from components.shared.mlflow import connection, runs
from components.shared.s3.streaming.published import open_shards
from components.train.step import train
from model.config import ChooseConfig, load_config
from model.utils.errors import UserError
from tests.support.tiny import ROOT, tiny_config, tiny_dataset

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


@pytest.mark.parametrize(
    ("by", "figures", "place"),
    [
        ("l1_ab", [9.0, 8.0, 8.5], 1),
        ("ab_intersection", [0.5, 0.7, 0.6], 1),
        ("l1_ab", [8.0, 8.0], 0),
        ("ab_intersection", [0.7, 0.7], 0),
        ("l1_ab", [None, 9.0, math.nan, math.inf], 1),
        ("ab_intersection", [math.inf, None, 0.1], 2),
    ],
)
def test_the_best_by_the_metrics_own_direction_the_first_of_equals(by: str, figures: list, place: int):
    assert best(figures, by) == place


@pytest.mark.parametrize("by", ["colorfulness", "beauty"])
def test_a_metric_that_says_nothing_about_better_is_refused(by: str):
    with pytest.raises(UserError, match=rf"choose.by: {by} .*l1_ab, "):
        best([1.0], by)


def test_no_variant_with_the_metric_is_an_error():
    with pytest.raises(UserError, match="no variant has a fid"):
        best([None, math.nan], "fid")


def test_the_page_is_escaped_says_who_was_left_out_and_is_the_same_each_time(tmp_path: Path):
    for name in ("curves.png", "histograms.png", "pictures.png"):
        (tmp_path / name).write_bytes(PNG)
    baselines = {name: {"l1_ab": 10.0} for name in ("gray", "mean_by_lightness")}
    metrics = {
        "<b>bold</b>": {"l1_ab": 8.25, "protocol": {"images": 83}, **baselines},
        "blown-up": {"l1_ab": None, **baselines},
    }
    pages = []
    for _ in range(2):
        write_report(tmp_path, metrics, "<b>bold</b>", "l1_ab", ["blown-up"])
        pages.append((tmp_path / "index.html").read_bytes())
    page = pages[0].decode()
    assert pages[0] == pages[1]
    assert "<b>bold</b></b>" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "blown-up has no l1_ab and was left out" in page
    assert "83 test photographs" in page
    assert base64.b64encode(PNG).decode() in page
    assert "| blown-up |  |" in table(metrics)


def test_two_trained_variants_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "workspace"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    dataset = tiny_dataset(tmp_path / "dataset", test=4)
    scoring = load_config(ROOT / "params.yaml", (), ("evaluate.samples=2",)).evaluate
    variants = {}
    for name, seed in (("one", 0), ("two", 1)):
        model, scores = tmp_path / name, tmp_path / f"{name}-scores"
        train(dataset, model, tmp_path / "checkpoints", tiny_config(f"seed={seed}", "images=32"), variant=name)
        evaluate(dataset, model, scores, scoring, cache=tmp_path / "cache", variant=name)
        variants[name] = (model, scores)
    figures = [json.loads((scores / "metrics.json").read_text())["l1_ab"] for _, scores in variants.values()]
    assert choose(dataset, variants, tmp_path / "out", ChooseConfig(by="l1_ab")) == figures.index(min(figures))
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"index.html", "table.md", "results.json", "curves.png", "histograms.png", "pictures.png"}
    assert json.loads((tmp_path / "out" / "results.json").read_text())["two"]["l1_ab"] == figures[1]
    client = connection.connect()
    (run,) = [run for run in client.search_runs([runs.experiment_id(client)]) if run.info.run_name == "choose"]
    assert run.data.tags["by"] == "l1_ab"
    assert run.data.tags["best"] == min(("one", "two"), key=lambda name: figures[name == "two"])
    logged = {Path(entry.path).name for entry in client.list_artifacts(run.info.run_id, "comparison")}
    assert logged == made


def test_what_was_not_scored_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "workspace"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    dataset = tiny_dataset(tmp_path / "dataset", test=4)
    train(dataset, tmp_path / "model", tmp_path / "checkpoints", tiny_config("images=32"))
    drawn = trial("one", tmp_path / "model", open_shards(dataset, "test"), range(2))
    assert len(drawn.pictures) == 2
    assert drawn.histograms.sum() == 2 * 2 * 24 * 24
