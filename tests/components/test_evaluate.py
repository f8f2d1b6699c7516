"""The evaluate step on real photographs: what it scores, what it writes, and what it says when it cannot."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import skimage.metrics
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient
from PIL import Image

from components import tracking
from components.evaluate.baselines import MeanByLightness
from components.evaluate.contestants import GeneratorContestant
from components.evaluate.instruments import Space
from components.evaluate.pictures import choose
from components.evaluate.scoring import delivered, distances
from components.evaluate.step import evaluate
from components.register.gate import judge
from model import shards
from model.checkpoint import load_generator, save_generator
from model.color import decode_lab, encode_lab, in_gamut, lab_to_srgb, srgb_to_lab, to_uint8
from model.config import EvaluateConfig, GeneratorConfig, Rule
from model.errors import UserError
from model.images import decode
from model.networks import Generator
from model.shards import Shards

SIZE = 40
TRAIN, TEST = 20, 9
ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "a\"'><script>alert(1)</script>&amp;.jpg"
ALWAYS = {
    "l1_ab",
    "psnr",
    "ssim",
    "colorfulness",
    "colorfulness_real",
    "delta_colorfulness",
    "ab_intersection",
    "kid_efflite0",
    "diversity",
}


def config(**changes: Any) -> EvaluateConfig:
    values = {"batch_size": 5, "samples": 3, "seed": 0, "inception_weights": "", "lpips_weights": ""}
    return EvaluateConfig(**(values | changes))


def make_generator(folder: Path, seed: int, noise: str = "gaussian", broken: bool = False) -> Path:
    """A random network, whose last layer is made strong enough to give real colors."""
    torch.manual_seed(seed)
    generator = Generator(
        GeneratorConfig.model_validate(
            {"encoder": "none", "channels": 8, "levels": 3, "skip": True, "noise": noise, "noise_size": 4}
            | {"norm": "group", "upsample": "resize"}
        )
    )
    for name, parameter in generator.named_parameters():
        if "to_ab" in name or "modulate" in name:
            torch.nn.init.normal_(parameter, 0, 0.15)
    if broken:
        next(generator.parameters()).data[0, 0, 0, 0] = float("nan")
    save_generator(folder, generator, crop=32, size=SIZE, images=1000 + seed)
    return folder


@pytest.fixture(scope="module")
def dataset(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real photographs, made small by area; the first of the test split has a hostile name."""
    labs: dict[str, np.ndarray[Any, np.dtype[np.uint8]]] = {}
    rows = []
    for path in sorted(photos.rglob("*.jpg"))[:: 412 // (TRAIN + TEST)][: TRAIN + TEST]:
        rgb = torch.tensor(decode(path).rgb).permute(2, 0, 1)[None].float() / 255
        lab = encode_lab(srgb_to_lab(F.interpolate(rgb, (SIZE, SIZE), mode="area")))[0].numpy()
        sha256 = hashlib.sha256(lab.tobytes()).hexdigest()
        test = len(labs) < TEST
        name = path.relative_to(photos).as_posix() if labs else HOSTILE
        labs[sha256] = lab
        rows.append(shards.Row(name, sha256, SIZE, SIZE, "test" if test else "train", "kept", ""))
    folder = tmp_path_factory.mktemp("dataset")
    shards.write(folder, rows, labs.__getitem__, size=SIZE, data_version="0123456789abcdef0123456789abcdef")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "challenger": make_generator(folder / "challenger", 1),
        "champion": make_generator(folder / "champion", 2),
        "deterministic": make_generator(folder / "deterministic", 3, noise="none"),
        "dropout": make_generator(folder / "dropout", 4, noise="dropout"),
        "broken": make_generator(folder / "broken", 5, broken=True),
    }


@pytest.fixture(scope="module")
def evaluated(
    dataset: Path, models: dict[str, Path], migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """A challenger scored against a champion: what was returned, and the folder of what was written."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.chdir(folder)
        (folder / "workspace").mkdir()
        shutil.copy(migrated, folder / "workspace" / "mlflow.db")
        result = evaluate(dataset, models["challenger"], folder / "out", config(), champion=str(models["champion"]))
    return result, folder / "out"


def true_lab(dataset: Path) -> torch.Tensor:
    return decode_lab(torch.from_numpy(Shards.open(dataset, "test")[:]))


def test_everybody_gets_every_figure(evaluated: tuple[dict[str, Any], Path]) -> None:
    result, out = evaluated
    for figures in (result, result["champion"], result["gray"], result["mean_by_lightness"]):
        assert figures.keys() >= ALWAYS
        assert all(np.isfinite(figures[name]) for name in ALWAYS)
    assert len({figures["l1_ab"] for figures in (result, result["champion"], result["gray"])}) == 3
    assert json.loads((out / "metrics.json").read_text()) == result
    figures = json.loads((out / "figures.json").read_text())
    assert figures == {name: result[name] for name in ALWAYS}
    assert sorted(path.name for path in out.iterdir()) == [
        "figures.json",
        "metrics.json",
        "per_photograph.parquet",
        "report.html",
        "samples.png",
    ]


def test_the_champion_is_scored_as_a_challenger_would_be(
    evaluated: tuple[dict[str, Any], Path], dataset: Path, models: dict[str, Path], workplace: Path
) -> None:
    alone = evaluate(dataset, models["champion"], workplace / "out", config(batch_size=9))  # nor does the batch matter
    assert "champion" not in alone
    assert {name: alone[name] for name in ALWAYS} == pytest.approx(evaluated[0]["champion"], rel=1e-3, abs=1e-5)


def test_the_same_weights_get_the_same_figures(dataset: Path, models: dict[str, Path], workplace: Path) -> None:
    copy = Path(shutil.copytree(models["challenger"], workplace / "copy"))
    result = evaluate(dataset, models["challenger"], workplace / "out", config(), champion=str(copy))
    assert result["champion"] == {name: result[name] for name in result["champion"]}


def test_gray_agrees_with_an_independent_computation(evaluated: tuple[dict[str, Any], Path], dataset: Path) -> None:
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


def test_mean_by_lightness_against_brute_force_and_between_levels(tmp_path: Path) -> None:
    lab = np.zeros((2, 3, 4, 4), dtype=np.uint8)
    lab[0, :] = np.array([10, 128 + 6, 128 - 2])[:, None, None]
    lab[1, :] = np.array([10, 128 + 2, 128 + 4])[:, None, None]
    lab[1, :, 0, 0] = [20, 128 + 24, 128 - 9]
    rows = [shards.Row(f"{i}", f"{i}" * 64, 4, 4, "train", "kept", "") for i in range(2)]
    shards.write(tmp_path, rows, lambda sha256: lab[int(sha256[0])], size=4, data_version="0" * 32)
    baseline = MeanByLightness(Shards.open(tmp_path, "train"))
    ten = [(16 * 6 + 15 * 2) / 31, (16 * -2 + 15 * 4) / 31]
    assert baseline.table[:, 10].tolist() == pytest.approx(ten, rel=1e-6)
    assert baseline.table[:, 20].tolist() == [24, -9]
    assert baseline.table[:, 15].tolist() == pytest.approx([(ten[0] + 24) / 2, (ten[1] - 9) / 2], rel=1e-6)
    assert baseline.table[:, 0].tolist() == baseline.table[:, 10].tolist()
    assert baseline.table[:, 255].tolist() == [24, -9]
    lightness = torch.tensor([[[[10, 20]]], [[[20, 0]]]], dtype=torch.uint8)
    ab = baseline(lightness, [0, 1])
    assert ab.shape == (1, 2, 2, 1, 2)
    assert ab[0, 1, :, 0, 0].tolist() == [24, -9]
    assert ab[0, 0, :, 0, 0].tolist() == pytest.approx(ten, rel=1e-6)


def test_mean_by_lightness_is_nearer_than_gray_where_it_learned(dataset: Path) -> None:
    train = Shards.open(dataset, "train")
    stored = torch.from_numpy(train[:])
    ab = decode_lab(stored)[:, 1:]
    error = (MeanByLightness(train)(stored[:, :1], range(len(train)))[0] - ab).square().mean()
    assert error < 0.99 * ab.square().mean()


def test_rows_for_photographs_average_to_the_figures(evaluated: tuple[dict[str, Any], Path], dataset: Path) -> None:
    result, out = evaluated
    table = pq.read_table(out / "per_photograph.parquet").to_pydict()
    test = Shards.open(dataset, "test")
    assert table["sha256"] == test.sha256s
    assert table["path"] == test.paths
    for name in ("l1_ab", "psnr", "ssim", "colorfulness", "colorfulness_real", "diversity"):
        assert np.mean(table[name]) == pytest.approx(result[name])
    assert np.mean(table["champion_l1_ab"]) == pytest.approx(result["champion"]["l1_ab"])
    assert all(0 <= value <= 1 for value in table["ab_intersection"])


def test_every_figure_has_its_protocol(
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


def test_what_is_absent_says_why_and_what_to_do(evaluated: tuple[dict[str, Any], Path]) -> None:
    result, out = evaluated
    page = (out / "report.html").read_text()
    assert result["absent"].keys() == {"fid", "kid", "lpips", "fd_efflite0"}
    assert not result["absent"].keys() & result.keys()
    for metric, words in {
        "fid": ["evaluate.inception_weights", "#sha256=6726825d"],
        "kid": ["evaluate.inception_weights"],
        "lpips": ["evaluate.lpips_weights", "#sha256=7be5be79"],
        "fd_efflite0": ["2048", str(TEST), "singular"],
    }.items():
        assert all(word in result["absent"][metric] for word in words)
        assert words[0] in page


def test_frechet_distances_begin_where_the_covariance_is_regular() -> None:
    space = Space("kernel", "frechet", 50, torch.nn.Identity())
    rng = torch.Generator().manual_seed(0)
    real, generated = torch.randn(60, 4, generator=rng), torch.randn(60, 4, generator=rng) + 1
    assert distances(space, real, generated).keys() == {"kernel", "frechet"}
    assert distances(space, real[:49], generated[:49]).keys() == {"kernel"}
    assert distances(space, real[:1], generated[:1]) == {}


def test_colorings_are_scored_as_delivered() -> None:
    """A color that sRGB cannot show keeps L and hue and loses chroma; one that it can show stays."""
    lightness = torch.tensor([102, 102], dtype=torch.uint8).view(1, 1, 1, 2)  # L = 40
    ab = torch.tensor([[100.0, 10.0], [-50.0, -5.0]]).view(1, 2, 1, 2)
    lab = delivered(lightness, ab)
    assert in_gamut(lab).all()
    assert lab[0, 0].tolist() == [[40.0, 40.0]]
    assert 10 < lab[0, 1, 0, 0] < 90
    assert (lab[0, 2] / lab[0, 1]).flatten().tolist() == pytest.approx([-0.5, -0.5])
    assert lab[0, 1:, 0, 1].tolist() == [10, -5]


class Page(HTMLParser):
    """What a browser would make of a page: elements, what they load, the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_stands_alone_and_runs_nothing(evaluated: tuple[dict[str, Any], Path]) -> None:
    text = (evaluated[1] / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.elements)
    assert not page.handlers
    assert page.loaded
    assert all(address.startswith("data:image/") for address in page.loaded)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_the_report_shows_hostile_names_as_text(
    dataset: Path, models: dict[str, Path], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, list[int]] = {"best": [], "median": list(range(TEST)), "worst": []}
    monkeypatch.setattr("components.evaluate.step.choose", lambda _: shown)  # whichever photograph has that name
    evaluate(dataset, models["deterministic"], workplace / "out", config(seed=2))
    page = Page((workplace / "out" / "report.html").read_text(encoding="utf-8"))
    assert HOSTILE in page.text
    assert "script" not in page.elements


def test_the_report_shows_figures_and_photographs(evaluated: tuple[dict[str, Any], Path]) -> None:
    result, out = evaluated
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    for column in ("challenger", "champion", "mean by lightness", "gray"):
        assert column in page.text
    assert f"{result['psnr']:.2f}" in page.text
    assert f"{result['champion']['psnr']:.2f}" in page.text
    assert page.elements.count("figure") == 3 * 3 + 3  # best, median, worst; and the median's several colorings
    assert page.text.count("sample 3") == 3


def test_samples_show_gray_colored_and_true(evaluated: tuple[dict[str, Any], Path]) -> None:
    with Image.open(evaluated[1] / "samples.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    spread = (pixels.max(2) - pixels.min(2)).max(0)  # of each column of pixels: 0 where all is gray
    tile = 160
    first_gray, first_colored, first_true = (spread[8 + place * (tile + 8) :][:tile].max() for place in range(3))
    assert first_gray <= 4
    assert first_colored > 20
    assert first_true > 20


@given(st.lists(st.floats(0, 50) | st.just(float("nan")), min_size=1, max_size=20))
def test_best_median_and_worst_are_distinct_and_in_order(values: list[float]) -> None:
    groups = choose(torch.tensor(values, dtype=torch.float64))
    chosen = [index for group in groups.values() for index in group]
    assert len(set(chosen)) == len(chosen) <= 9
    ranked = [float("inf") if np.isnan(values[index]) else values[index] for index in chosen]
    assert ranked == sorted(ranked)
    assert min(ranked) == min(float("inf") if np.isnan(value) else value for value in values)
    if len(values) >= 3:
        assert all(groups.values())


def test_diversity_is_zero_without_noise_and_not_with_it(
    evaluated: tuple[dict[str, Any], Path], dataset: Path, models: dict[str, Path], workplace: Path
) -> None:
    assert evaluated[0]["diversity"] > 0.1
    result = evaluate(dataset, models["deterministic"], workplace / "out", config())
    assert result["diversity"] == 0


@pytest.mark.parametrize("which", ["challenger", "dropout"])
def test_colorings_repeat_with_the_seed_and_differ_without(which: str, dataset: Path, models: dict[str, Path]) -> None:
    generator = load_generator(models[which])[0]
    lightness = torch.from_numpy(Shards.open(dataset, "test")[:4])[:, :1]
    first, again, other = (
        GeneratorContestant(generator, TEST, samples=2, seed=seed)(lightness, range(4)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.01
    assert (first[0] - first[1]).abs().mean() > 0.01


def test_a_photographs_noise_does_not_depend_on_its_batch(dataset: Path, models: dict[str, Path]) -> None:
    contestant = GeneratorContestant(load_generator(models["challenger"])[0], TEST, samples=2, seed=0)
    lightness = torch.from_numpy(Shards.open(dataset, "test")[:])[:, :1]
    together = contestant(lightness, range(TEST))
    torch.testing.assert_close(contestant(lightness[[7, 2]], [7, 2]), together[:, [7, 2]], atol=1e-3, rtol=0)


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


RULES = {"l1_ab": Rule(direction="down", change=-100.0, bound=1000.0)}


def test_a_generator_that_breaks_gets_null_and_is_rejected(
    dataset: Path, models: dict[str, Path], workplace: Path
) -> None:
    evaluate(dataset, models["broken"], workplace / "out", config(), champion=str(models["champion"]))
    written = json.loads((workplace / "out" / "metrics.json").read_text(), parse_constant=no_constant)
    assert all(written[name] is None for name in ALWAYS)
    assert all("finite" in written["absent"][name] for name in ALWAYS)
    assert all(np.isfinite(written["champion"][name]) for name in ALWAYS)
    assert "not a number" in (workplace / "out" / "report.html").read_text()
    assert np.isnan(pq.read_table(workplace / "out" / "per_photograph.parquet")["l1_ab"]).all()
    assert judge(written, written["champion"], RULES).outcome == "reject"
    assert judge(written["champion"], None, RULES).outcome == "promote"  # the rules themselves would let it pass


def test_a_champion_that_breaks_is_seen_too(dataset: Path, models: dict[str, Path], workplace: Path) -> None:
    result = evaluate(dataset, models["deterministic"], workplace / "out", config(), champion=str(models["broken"]))
    assert result["champion"]["l1_ab"] is None
    assert "champion" in result["absent"]["champion.l1_ab"]
    assert np.isfinite(result["l1_ab"])
    assert judge(result, result["champion"], RULES).outcome == "reject"


def test_fid_kid_and_lpips_with_weights(
    dataset: Path, models: dict[str, Path], workplace: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    inception = partial(torchvision.models.inception_v3, weights=None, init_weights=False, aux_logits=False)
    for name, network in (("i.pth", inception(num_classes=1008)), ("a.pth", torchvision.models.alexnet(weights=None))):
        torch.save(network.state_dict(), folder / name)
    chosen = config(inception_weights=str(folder / "i.pth"), lpips_weights=str(folder / "a.pth"))
    result = evaluate(dataset, models["deterministic"], workplace / "out", chosen)
    assert result["absent"].keys() == {"fd_efflite0"}
    for metric, name in {"fid": "i.pth", "kid": "i.pth", "lpips": "a.pth"}.items():
        sha256 = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert np.isfinite(result[metric])
        assert np.isfinite(result["gray"][metric])
        assert result["protocol"]["metrics"][metric]["weights_sha256"] == sha256
    assert result["lpips"] > 0


def refused(*arguments: Any, **keywords: Any) -> str:
    with pytest.raises(UserError) as error:
        evaluate(*arguments, **keywords)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_mistakes_get_one_sentence_and_leave_no_output(
    dataset: Path, models: dict[str, Path], workplace: Path, tmp_path: Path
) -> None:
    out, challenger = workplace / "out", models["challenger"]
    assert "preprocess" in refused(workplace, challenger, out, config())
    assert str(workplace) in refused(dataset, workplace, out, config())
    assert "no generator folder" in refused(dataset, challenger, out, config(), champion=str(dataset))
    assert "evaluate.inception_weights" in refused(dataset, challenger, out, config(inception_weights="none.pth"))
    assert "evaluate.lpips_weights" in refused(dataset, challenger, out, config(lpips_weights="http://127.0.0.1/a"))
    odd = Path(shutil.copytree(challenger, workplace / "odd"))
    (odd / "training.json").write_text("[]")
    assert "training.json" in refused(dataset, odd, out, config())
    assert not out.exists()


def test_a_dataset_without_test_photographs(models: dict[str, Path], workplace: Path) -> None:
    empty = workplace / "empty"
    empty.mkdir()
    rows = [shards.Row("a.jpg", "a" * 64, 16, 16, "train", "kept", "")]
    shards.write(empty, rows, lambda _: np.full((3, 16, 16), 128, np.uint8), size=16, data_version="0" * 32)
    assert "no test photographs" in refused(empty, models["challenger"], workplace / "out", config())


def test_figures_land_in_the_run_that_trained(dataset: Path, models: dict[str, Path], workplace: Path) -> None:
    with tracking.run("train") as trained:
        trained.log_metrics({"reconstruction": 0.1}, step=1000)
    model = Path(shutil.copytree(models["deterministic"], workplace / "model"))
    (model / "training.json").write_text(json.dumps({"mlflow_run_id": trained.id}))
    result = evaluate(dataset, model, workplace / "out", config(), champion=str(models["champion"]))
    client: MlflowClient = tracking.connect()
    run = client.get_run(trained.id)
    assert run.data.metrics["reconstruction"] == 0.1
    assert run.data.metrics["l1_ab"] == pytest.approx(result["l1_ab"])
    assert run.data.metrics["champion/l1_ab"] == pytest.approx(result["champion"]["l1_ab"])
    assert run.data.metrics["gray/ab_intersection"] == pytest.approx(result["gray"]["ab_intersection"])
    assert client.get_metric_history(trained.id, "l1_ab")[0].step == 1003  # images that the generator has seen
    logged = {file.path for file in client.list_artifacts(trained.id, "evaluation")}
    assert logged == {"evaluation/metrics.json", "evaluation/report.html", "evaluation/samples.png"}
    assert run.inputs.dataset_inputs[0].dataset.digest == "0123456789abcdef0123456789abcdef"


def command_line(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return subprocess.run(
        [sys.executable, "-m", "components.evaluate", "--params", str(ROOT / "params.yaml"), *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_line(dataset: Path, models: dict[str, Path], workplace: Path) -> None:
    challenger = str(models["challenger"])
    done = command_line(
        workplace, "--dataset", str(dataset), "--model", challenger, "--out", "out", "--set", "evaluate.seed=3"
    )
    assert done.returncode == 0, done.stderr
    assert "out/report.html" in done.stdout
    assert json.loads((workplace / "out" / "metrics.json").read_text())["protocol"]["seed"] == 3
    failed = command_line(workplace, "--dataset", "nowhere", "--model", challenger, "--out", "out")
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("error: nowhere")
