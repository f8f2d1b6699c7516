"""Tests of the evaluate step on real photographs: metrics, protocol, output files and MLflow."""

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import skimage.metrics
import torch
import torchvision
from mlflow.tracking import MlflowClient

from components.evaluate.accumulate import frechet_distances
from components.evaluate.features import Space
from components.evaluate.figures import PerImage
from components.evaluate.step import evaluate
from components.shared.mlflow import connection, runs
from model.color import decode_lab, lab_to_srgb, to_uint8
from model.data.shards import Shards
from model.inference.saved import load_generator
from tests.support.made import ALWAYS, SIZE, TEST, config


def true_lab(dataset: Path) -> torch.Tensor:
    return decode_lab(torch.from_numpy(Shards.open(dataset, "test")[:]))


def test_every_candidate_and_baseline_gets_every_metric(evaluated: tuple[dict[str, Any], Path]) -> None:
    result, out = evaluated
    for figures in (result, result["champion"], result["gray"], result["mean_by_lightness"]):
        assert figures.keys() >= ALWAYS
        assert all(np.isfinite(figures[name]) for name in ALWAYS)
    assert len({figures["l1_ab"] for figures in (result, result["champion"], result["gray"])}) == 3
    assert json.loads((out / "metrics.json").read_text()) == result
    figures = json.loads((out / "figures.json").read_text())
    assert figures == {name: result[name] for name in ALWAYS}
    assert sorted(path.name for path in out.iterdir()) == [
        "contact_sheet.npz",
        "figures.json",
        "histograms.npz",
        "metrics.json",
        "per_photograph.parquet",
        "report.html",
        "samples.png",
        "side_by_side.png",
    ]


def test_only_the_configured_number_of_photographs_is_scored(
    evaluated: tuple[dict[str, Any], Path], dataset: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    some = evaluate(dataset, models["challenger"], tmp_path / "out", config(photographs=5, batch_size=3))
    assert some["protocol"]["images"] == 5
    rows = pq.read_table(tmp_path / "out" / "per_photograph.parquet").to_pandas()
    assert list(rows["sha256"]) == Shards.open(dataset, "test").sha256s[:5]
    every = pq.read_table(evaluated[1] / "per_photograph.parquet").to_pandas()
    assert list(rows["colorfulness_real"]) == pytest.approx(list(every["colorfulness_real"][:5]))
    assert some["psnr"] == pytest.approx(rows["psnr"].mean())


def test_every_difference_to_the_champion_has_a_confidence_interval(evaluated: tuple[dict[str, Any], Path]) -> None:
    result, out = evaluated
    assert result["difference"].keys() == ALWAYS - {"colorfulness_real"}
    for name, difference in result["difference"].items():
        assert difference["value"] == pytest.approx(result[name] - result["champion"][name])
        assert difference["low"] < difference["high"]
    page = (out / "report.html").read_text()
    assert f"{result['difference']['psnr']['low']:+.2g}" in page
    assert "95 %" in page


def test_the_champion_gets_the_same_metrics_as_when_evaluated_alone(
    evaluated: tuple[dict[str, Any], Path], dataset: Path, models: dict[str, Path], workplace: Path
) -> None:
    alone = evaluate(
        dataset, models["champion"], workplace / "out", config(batch_size=9)
    )  # the batch size has no effect either
    assert "champion" not in alone
    assert {name: alone[name] for name in ALWAYS} == pytest.approx(evaluated[0]["champion"], rel=1e-3, abs=1e-5)


def test_equal_weights_get_equal_metrics(dataset: Path, models: dict[str, Path], workplace: Path) -> None:
    copy = Path(shutil.copytree(models["challenger"], workplace / "copy"))
    result = evaluate(dataset, models["challenger"], workplace / "out", config(), champion=str(copy))
    assert result["champion"] == {name: result[name] for name in result["champion"]}


def test_metrics_of_gray_agree_with_an_independent_computation(
    evaluated: tuple[dict[str, Any], Path], dataset: Path
) -> None:
    gray = evaluated[0]["gray"]
    lab = true_lab(dataset)
    true = to_uint8(lab_to_srgb(lab)).permute(0, 2, 3, 1).numpy()
    colorless = to_uint8(lab_to_srgb(lab * torch.tensor([1, 0, 0]).view(3, 1, 1))).permute(0, 2, 3, 1).numpy()
    assert gray["l1_ab"] == pytest.approx(lab[:, 1:].abs().mean().item(), rel=1e-4)
    psnr = [skimage.metrics.peak_signal_noise_ratio(t, c) for t, c in zip(true, colorless, strict=True)]
    assert gray["psnr"] == pytest.approx(np.mean(psnr), rel=1e-4)
    assert gray["ab_intersection"] == pytest.approx((lab[:, 1:] == 0).float().mean().item(), rel=1e-4)
    assert gray["colorfulness"] < 1
    assert gray["delta_colorfulness"] == pytest.approx(gray["colorfulness_real"] - gray["colorfulness"], rel=1e-4)
    assert gray["diversity"] == 0


def test_metrics_are_the_means_of_the_rows_per_photograph(
    evaluated: tuple[dict[str, Any], Path], dataset: Path
) -> None:
    result, out = evaluated
    table = pq.read_table(out / "per_photograph.parquet").to_pydict()
    test = Shards.open(dataset, "test")
    assert table["sha256"] == test.sha256s
    assert table["path"] == test.paths
    assert all(best <= first for best, first in zip(table["l1_ab_best"], table["l1_ab"], strict=True))
    assert result["l1_ab_best"] < result["l1_ab"]
    for name in ("l1_ab", "l1_ab_best", "psnr", "ssim", "colorfulness", "colorfulness_real", "diversity"):
        assert np.mean(table[name]) == pytest.approx(result[name])
    assert np.mean(table["champion_l1_ab"]) == pytest.approx(result["champion"]["l1_ab"])
    assert all(0 <= value <= 1 for value in table["ab_intersection"])


def test_every_metric_has_its_protocol(
    evaluated: tuple[dict[str, Any], Path], dataset: Path, models: dict[str, Path]
) -> None:
    protocol = evaluated[0]["protocol"]
    assert protocol["metrics"].keys() == ALWAYS
    assert all(metric["definition"] for metric in protocol["metrics"].values())
    assert protocol["metrics"]["kid_efflite0"]["weights_sha256"].startswith("57934424")
    assert (protocol["images"], protocol["size"], protocol["samples"], protocol["seed"]) == (TEST, SIZE, 3, 0)
    assert protocol["data_version"] == "0123456789abcdef0123456789abcdef"
    together = "\n".join(Shards.open(dataset, "test").sha256s)
    assert protocol["photographs_sha256"] == hashlib.sha256(together.encode()).hexdigest()
    for who in ("challenger", "champion"):
        assert protocol[who]["weights_sha256"] == load_generator(models[who])[1].weights_sha256
    assert protocol["champion"]["uri"] == str(models["champion"])


def test_every_absent_metric_has_a_reason_and_a_remedy(evaluated: tuple[dict[str, Any], Path]) -> None:
    result, out = evaluated
    page = (out / "report.html").read_text()
    assert result["absent"].keys() == {"fid", "kid", "lpips", "diversity_lpips", "fd_efflite0"}
    assert not result["absent"].keys() & result.keys()
    for metric, words in {
        "fid": ["evaluate.inception_weights", "#sha256=6726825d"],
        "kid": ["evaluate.inception_weights"],
        "lpips": ["evaluate.lpips_weights", "#sha256=7be5be79"],
        "fd_efflite0": ["2048", str(TEST), "singular"],
    }.items():
        assert all(word in result["absent"][metric] for word in words)
        assert words[0] in page


def test_frechet_distances_need_enough_photographs_for_a_regular_covariance() -> None:
    space = Space("kernel", "frechet", 50, torch.nn.Identity())
    rng = torch.Generator().manual_seed(0)
    both = [PerImage({}, torch.zeros(60, 2, 1), {"kernel": torch.randn(60, 4, generator=rng)}) for _ in range(2)]
    assert frechet_distances(*both, [space]).keys() == {"frechet"}
    for count in (49, 1):
        assert frechet_distances(*(each.take(range(count)) for each in both), [space]) == {}


def test_diversity_is_zero_without_noise_and_positive_with_noise(
    evaluated: tuple[dict[str, Any], Path], dataset: Path, models: dict[str, Path], workplace: Path
) -> None:
    assert evaluated[0]["diversity"] > 0.1
    result = evaluate(dataset, models["deterministic"], workplace / "out", config())
    assert result["diversity"] == 0


@pytest.mark.slow
def test_fid_kid_and_lpips_are_computed_with_given_weights(
    dataset: Path, models: dict[str, Path], workplace: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    inception = partial(torchvision.models.inception_v3, weights=None, init_weights=False, aux_logits=False)
    for name, network in (("i.pth", inception(num_classes=1008)), ("a.pth", torchvision.models.alexnet(weights=None))):
        torch.save(network.state_dict(), folder / name)
    chosen = config(inception_weights=str(folder / "i.pth"), lpips_weights=str(folder / "a.pth"))
    result = evaluate(dataset, models["deterministic"], workplace / "out", chosen, str(models["challenger"]))
    assert result["absent"].keys() == {"fd_efflite0"}
    for metric, name in {"fid": "i.pth", "kid": "i.pth", "lpips": "a.pth", "diversity_lpips": "a.pth"}.items():
        sha256 = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert np.isfinite(result[metric])
        assert np.isfinite(result["gray"][metric])
        assert result["protocol"]["metrics"][metric]["weights_sha256"] == sha256
    assert result["lpips"] > 0
    assert result["diversity_lpips"] == 0
    assert result["champion"]["diversity_lpips"] > 0


def test_metrics_are_logged_to_the_mlflow_run_of_the_training(
    dataset: Path, models: dict[str, Path], workplace: Path
) -> None:
    with runs.start_run("train") as trained:
        trained.log_metrics({"reconstruction": 0.1}, step=1000)
    model = Path(shutil.copytree(models["deterministic"], workplace / "model"))
    (model / "training.json").write_text(json.dumps({"mlflow_run_id": trained.id}))
    result = evaluate(dataset, model, workplace / "out", config(), champion=str(models["champion"]))
    client: MlflowClient = connection.connect()
    run = client.get_run(trained.id)
    assert run.data.metrics["reconstruction"] == 0.1
    assert run.data.metrics["l1_ab"] == pytest.approx(result["l1_ab"])
    assert run.data.metrics["champion/l1_ab"] == pytest.approx(result["champion"]["l1_ab"])
    assert run.data.metrics["gray/ab_intersection"] == pytest.approx(result["gray"]["ab_intersection"])
    assert client.get_metric_history(trained.id, "l1_ab")[0].step == 1003  # images that the generator has seen
    logged = {file.path for file in client.list_artifacts(trained.id, "evaluation")}
    assert logged == {"evaluation/metrics.json", "evaluation/report.html", "evaluation/samples.png"}
    assert run.inputs.dataset_inputs[0].dataset.digest == "0123456789abcdef0123456789abcdef"
