"""Tests of the champion's benchmark on a tiny dataset of several sources: rows, goals, and what its pictures show."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.champion import main as champion
from benchmarks.champion.groups import _GROUP_OF, SAMPLE, group, own_folders
from benchmarks.champion.sheets import draw, worst
from benchmarks.champion.tables import GOALS, tables
from benchmarks.tools import ROOT
from model.inference.saved import save_generator
from model.networks.generator import Generator
from tests.support.tiny import tiny_config, tiny_dataset

SOURCES = ("scratch", "openstax-sociology", "HowToCook", "grocery-store", "tuxtype-data", "ropensci")


def calibrated(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    generator = Generator(tiny_config().generator)
    generator.chroma_slope = 1.0
    save_generator(folder, generator, crop=16, size=24, images=0)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("champion")
    dataset = tiny_dataset(folder / "dataset", test=len(SOURCES) * 2, sources=SOURCES)
    new, before = (str(calibrated(folder / name, seed)) for seed, name in enumerate(("new", "before")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.champion.groups.LARGE", 2)
        patch.setattr("benchmarks.champion.main.show", remembered(shown := [], champion.show))
        champion.main(dataset, before, new, pix2pix=new, samples=2, sheet=folder / "sheet.png", out=folder / "out")
    (folder / "shown.json").write_text(json.dumps(shown), encoding="utf-8")
    return folder


def remembered(calls: list[list[str]], function):
    def call(*arguments):
        found = function(*arguments)
        calls.append([photograph.path for photograph in found])
        return found

    return call


def test_the_rows_are_the_sample_set_and_the_groups(results: Path):
    metrics = json.loads((results / "out" / "metrics.json").read_bytes())
    rows = {name: part["photographs"] for name, part in metrics["slices"].items()}
    assert rows == dict.fromkeys((SAMPLE, "people", "food"), 4) | dict.fromkeys(SOURCES[1:4] + SOURCES[5:], 2)
    assert next(iter(rows)) == SAMPLE
    assert metrics["protocol"]["images"] == 12
    assert metrics["slices"][SAMPLE]["difference"]["l1_ab"]["value"] != 0
    assert metrics["pix2pix"]["l1_ab"] == pytest.approx(metrics["l1_ab"], abs=1e-4)
    assert str(results) not in json.dumps(metrics)


def test_the_tables_come_from_the_figures(results: Path):
    metrics = json.loads((results / "out" / "metrics.json").read_bytes())
    written = (results / "out" / "tables.md").read_text(encoding="utf-8")
    assert written == tables(metrics)
    rows = [line.split(" | ") for line in written.splitlines() if line.startswith(f"| {SAMPLE} | 4 ")]
    assert len(rows) == 3
    assert rows[0][2] == f"{metrics['slices'][SAMPLE]['l1_ab']:.2f}"
    assert len(rows[2]) == 2 + len(GOALS)
    assert all(len({line.count("|") for line in table.splitlines()}) == 1 for table in written.split("\n\n"))


def test_skin_has_a_table_where_faces_were_found(results: Path):
    metrics = json.loads((results / "out" / "metrics.json").read_bytes())
    few, many = {"all": {"faces": 3}}, {"all": {"faces": 12, "chroma_error": 4.25, "hue_error": None}}
    written = tables(metrics | {"skin": {"faces": 12, "challenger": many, "gray": few}})
    assert "| all | champion | 12 | 4.2 | – | – |" in written
    assert "| all | gray | 3 | – | – | – |" in written
    assert "chroma_error" not in tables(metrics | {"skin": {"faces": 0}})


def test_only_the_sheet_that_is_not_committed_shows_other_sources(results: Path):
    report, contacts, everything = json.loads((results / "shown.json").read_bytes())
    own = [path for path in everything if group(path) == SAMPLE]
    assert sorted(contacts) == sorted(own)
    assert len(contacts) == 4
    assert len(everything) == 12
    assert set(report) <= set(contacts)
    with Image.open(results / "out" / "worst.jpg") as small, Image.open(results / "sheet.png") as large:
        assert small.width == large.width
        assert small.height < large.height


def test_the_worst_lose_most_to_gray_and_one_that_is_not_finite_comes_first():
    nan = float("nan")
    l1_ab = {"challenger": torch.tensor([9.0, 5.0, nan, 12.0]), "gray": torch.tensor([1.0, 6.0, 1.0, 11.0])}
    assert worst(l1_ab, [0, 1, 2, 3]) == [2, 0, 3, 1]
    assert worst(l1_ab, [1, 3]) == [3, 1]
    assert draw([], {}, side=16).width > 0


def test_every_source_of_a_group_is_in_the_catalog():
    with (ROOT / "pipeline" / "data" / "catalog.csv").open(encoding="utf-8", newline="") as file:
        sources = {row["source"] for row in csv.DictReader(file)}
    assert _GROUP_OF.keys() <= sources
    assert not own_folders() & sources


@pytest.mark.parametrize(
    ("l1_ab", "high", "colors", "kid", "met"),
    [(9.0, -0.1, 40.0, 0.001, True), (9.0, 0.1, 30.0, 0.003, False), (11.0, 0.3, None, None, False)],
)
def test_a_goal_is_met_by_figures_clear_of_its_bound(
    l1_ab: float, high: float, colors: float | None, kid: float | None, met: bool
):
    gap = {"value": l1_ab - 10, "low": -2.0, "high": high, "confidence": 0.95}
    at = {"challenger": {"l1_ab": 10 + high}, "champion": {"l1_ab": 11.0}, "difference": {"l1_ab": gap}}
    part = {
        "baseline_difference": {"gray": {"l1_ab": gap}},
        "gray": {"l1_ab": 10.0},
        "champion": {"kid_efflite0": 0.004},
        "colorfulness": colors,
        "colorfulness_real": 40.0,
        "colorfulness_error": 11.0 if met else 13.0,
        "colorfulness_correlation": 0.6 if met else 0.1,
        "ab_intersection": 0.85 if met else None,
        "kid_efflite0": kid,
        "equal_colorfulness": {"0.8": at, "1": at},
    }
    assert {name: judge(part)[1] for name, judge in GOALS.items()} == dict.fromkeys(GOALS, met)
