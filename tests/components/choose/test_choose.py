"""Tests of the choose step: the best of several variants, and the page that compares them."""

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.choose.comparison import Variant, page
from components.choose.config import ChooseConfig
from components.choose.step import best, choose
from components.evaluate.step import evaluate
from components.shared.machine.workspace import VARIABLE
from components.shared.mlflow import connection, runs
from components.train.step import train
from model.utils.errors import Damaged, UserError
from pipeline.config import load_config
from tests.support.tiny import ROOT, tiny_config, tiny_dataset


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
def test_the_best_follows_the_metrics_direction_and_ties_go_to_the_first(by: str, figures: list, place: int):
    assert best(figures, by) == place


@pytest.mark.parametrize("by", ["colorfulness", "beauty"])
def test_a_metric_without_a_direction_is_refused(by: str):
    with pytest.raises(UserError, match=rf"choose.by: {by} .*l1_ab, "):
        load_config(ROOT / "params.yaml", (), (f"choose.by={by}",))


def test_a_metric_that_no_variant_has_is_an_error():
    with pytest.raises(UserError, match="no variant has a fid"):
        best([None, math.nan], "fid")


@pytest.fixture
def variants(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    """Writes outputs of train and evaluate for two variants; the second has no finite metric."""
    made = {}
    for name, l1_ab in {"<b>bold</b>": 8.25, "blown-up": None}.items():
        model, evaluation = tmp_path / name / "model", tmp_path / name / "evaluation"
        model.mkdir(parents=True)
        evaluation.mkdir()
        weights = name.encode()
        (model / "generator.safetensors").write_bytes(weights)
        described = {"weights_sha256": hashlib.sha256(weights).hexdigest()}
        (model / "generator.json").write_text(json.dumps(described), encoding="utf-8")
        (model / "history.jsonl").write_text('{"images": 16, "reconstruction": 0.5}\n', encoding="utf-8")
        baselines = {baseline: {"l1_ab": 10.0} for baseline in ("gray", "mean_by_lightness")}
        metrics = {"l1_ab": l1_ab, "protocol": {"images": 83}, **baselines}
        (evaluation / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        counts = np.ones((2, 256), dtype=np.int64)
        np.savez(evaluation / "histograms.npz", photographs=counts, challenger=counts)
        strip = np.full((8, 32, 3), 128, dtype=np.uint8)
        np.savez(evaluation / "contact_sheet.npz", gray=strip, challenger=strip, true=strip)
        made[name] = (model, evaluation)
    return made


def test_the_page_escapes_names_lists_omitted_variants_and_is_repeatable(variants: dict[str, tuple[Path, Path]]):
    read = {name: Variant.read(*folders) for name, folders in variants.items()}
    html, again = (page(read, "<b>bold</b>", "l1_ab", ["blown-up"]) for _ in range(2))
    assert html == again
    assert "<b>bold</b></b>" not in html
    assert "&lt;b&gt;bold&lt;/b&gt;" in html
    assert "blown-up has no l1_ab and was left out" in html
    assert "83 photographs of the split test" in html
    assert html.count("data:image/jpeg") == 4  # gray, two variants, true


@pytest.mark.parametrize("name", ["metrics.json", "histograms.npz", "contact_sheet.npz"])
@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_damaged_evaluation_is_an_error(variants: dict[str, tuple[Path, Path]], name: str, content: bytes | None):
    model, evaluation = variants["blown-up"]
    (evaluation / name).unlink()
    if content:
        (evaluation / name).write_bytes(content)
    with pytest.raises(UserError, match=r"blown-up.*evaluate this variant again"):
        Variant.read(model, evaluation)


def test_a_single_variant_is_copied_without_its_metric_and_without_a_comparison(
    variants: dict[str, tuple[Path, Path]], tmp_path: Path
):
    """Runs in a process of its own, which checks its imports."""
    program = """
import sys
from pathlib import Path
from components.choose.step import choose
from components.choose.config import ChooseConfig
model, evaluation, *targets = map(Path, sys.argv[1:])
assert choose({"<one>": (model, evaluation)}, *targets, ChooseConfig(by="fid")) == 0
assert not {"torch", "matplotlib", "mlflow"} & sys.modules.keys()
"""
    targets = [tmp_path / name for name in ("model", "evaluation", "page")]
    command = [sys.executable, "-c", program, *map(str, (*variants["blown-up"], *targets))]
    subprocess.run(command, check=True)
    model, evaluation, page = targets
    assert (model / "history.jsonl").is_file()
    assert json.loads((evaluation / "metrics.json").read_text())["l1_ab"] is None
    assert page.read_text() == "<p>&lt;one&gt; is the only variant.</p>\n"  # without the file, kfp.local reuses nothing
    assert not (evaluation / "comparison.html").exists()


def test_a_damaged_model_is_named_where_training_left_it(variants: dict[str, tuple[Path, Path]], tmp_path: Path):
    model, evaluation = variants["blown-up"]
    (model / "generator.safetensors").write_bytes(b"cut off")
    targets = (tmp_path / "model", tmp_path / "evaluation", tmp_path / "page")
    with pytest.raises(Damaged) as caught:
        choose({"one": (model, evaluation)}, *targets, ChooseConfig(by="l1_ab"))
    assert caught.value.folder == model


def test_another_choice_in_the_same_place_leaves_the_first_model_as_it_was(
    variants: dict[str, tuple[Path, Path]], tmp_path: Path
):
    targets = (tmp_path / "model", tmp_path / "evaluation", tmp_path / "page")
    for name, folders in variants.items():
        choose({name: folders}, *targets, ChooseConfig(by="l1_ab"))
    for name, (model, _) in variants.items():
        assert (model / "generator.safetensors").read_bytes() == name.encode()
    assert (targets[0] / "generator.safetensors").read_bytes() == b"blown-up"


def test_the_better_of_two_trained_variants_is_chosen_and_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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
    out, best = tmp_path / "out", figures.index(min(figures))
    chosen = choose(variants, out / "model", out / "evaluation", out / "page", ChooseConfig(by="l1_ab"))
    assert chosen == best
    for copied, original in zip(("model", "evaluation"), list(variants.values())[best], strict=True):
        more = {"comparison.html"} if copied == "evaluation" else set()
        assert {path.name for path in (out / copied).iterdir()} == {path.name for path in original.iterdir()} | more
    assert json.loads((out / "evaluation" / "metrics.json").read_text())["l1_ab"] == min(figures)
    client = connection.connect()
    (run,) = [run for run in client.search_runs([runs.experiment_id(client)]) if run.info.run_name == "choose"]
    assert run.data.tags["by"] == "l1_ab"
    assert run.data.tags["best"] == ("one", "two")[best]
    logged = Path(client.download_artifacts(run.info.run_id, "comparison", str(tmp_path)))
    for written in (out / "page", out / "evaluation" / "comparison.html"):
        assert (logged / "index.html").read_bytes() == written.read_bytes()
    assert json.loads((logged / "results.json").read_text())["two"]["l1_ab"] == figures[1]


def test_an_evaluation_writes_histograms_and_pictures_of_the_scored_photographs_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "workspace"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    dataset = tiny_dataset(tmp_path / "dataset", test=4)
    scoring = load_config(ROOT / "params.yaml", (), ("evaluate.samples=2", "evaluate.photographs=2")).evaluate
    train(dataset, tmp_path / "model", tmp_path / "checkpoints", tiny_config("images=32"))
    evaluate(dataset, tmp_path / "model", tmp_path / "scores", scoring, cache=tmp_path / "cache")
    left = Variant.read(tmp_path / "model", tmp_path / "scores")
    for name in ("photographs", "challenger"):
        assert left.histograms[name].sum() == 2 * 2 * 24 * 24
    assert {name: strip.shape for name, strip in left.samples.items()} == dict.fromkeys(
        ("gray", "challenger", "true"), (24, 2 * 24, 3)
    )
