"""Tests of slices: the photographs of a folder or a label, and their figures in result, report and MLflow."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from components.evaluate.slices import find_slices
from components.evaluate.step import evaluate
from components.shared.mlflow import connection, runs
from model.data.format import Row
from model.data.shards import Shards
from model.data.writer import write_dataset
from tests.support.made import ALWAYS, SIZE, config

PATHS = [
    "web/people/1.jpg",
    "web/people/2.jpg",
    "web/rooms/3.jpg",
    "web/rooms/4.jpg",
    "own/5.jpg",
    "own/6.jpg",
    "7.jpg",
]


def named(paths: list[str], labels: list[str | None] | None = None) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (each.by, each.rows) for name, each in find_slices(paths, labels or [None] * len(paths)).items()}


def test_every_folder_is_a_slice_at_any_depth_the_larger_first() -> None:
    found = named(PATHS)
    assert list(found) == ["web", "own", "web/people", "web/rooms"]
    assert found["web/people"] == ("folder", (0, 1))


def test_folders_that_tell_nothing_are_left_out() -> None:
    assert named([f"all/inner/{path}" for path in PATHS]).keys() == {f"all/inner/{name}" for name in named(PATHS)}
    assert named(["a/b/1.jpg", "a/b/2.jpg", "c/3.jpg"]).keys() == {"a"}  # a/b has the same, c a single one


def test_labels_are_slices_unless_they_are_folders() -> None:
    labels = ["people", "people", None, "day", "day", "web", "web"]
    found = named(PATHS, labels)
    assert found["day"] == ("label", (3, 4))
    assert "people" not in found  # the photographs of web/people
    assert found["label:web"] == ("label", (5, 6))
    assert found["web"] == ("folder", (0, 1, 2, 3))


def test_of_many_labels_the_most_frequent_are_slices() -> None:
    labels = [str(number % 60) for number in range(130)]  # ten labels occur three times, fifty twice
    found = named([f"{number}.jpg" for number in range(130)], labels)
    assert len(found) == 50
    assert {str(number) for number in range(10)} <= found.keys()


@pytest.fixture(scope="module")
def sliced(
    dataset: Path, models: dict[str, Path], migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """Scores two models on the same photographs in two folders, one of them with an odd name, and with a label."""
    test, train = (Shards.open(dataset, split) for split in ("test", "train"))
    folder = tmp_path_factory.mktemp("sliced")
    rows, labs = [], {}
    for shards in (test, train):
        for index, sha256 in enumerate(shards.sha256s):
            odd, label = index % 2 == 1, "night" if index < 3 else None
            path = f"{'<b>ä|[x]' if odd else 'people'}/{index}.jpg"
            rows.append(Row(path, sha256, SIZE, SIZE, shards.split, "kept", "", label=label))
            labs[sha256] = shards[[index]][0]
    (folder / "dataset").mkdir()
    write_dataset(folder / "dataset", rows, labs.__getitem__, size=SIZE, data_version="0" * 32)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "workspace").mkdir()
        (folder / "workspace" / "mlflow.db").write_bytes(migrated.read_bytes())
        result = evaluate(
            folder / "dataset", models["challenger"], folder / "out", config(), champion=str(models["champion"])
        )
    return result, folder


def test_a_slice_has_the_figures_of_its_photographs_with_intervals(sliced: tuple[dict[str, Any], Path]) -> None:
    result, folder = sliced
    slices = result["slices"]
    assert {name: (each["by"], each["photographs"]) for name, each in slices.items()} == {
        "people": ("folder", 5),
        "<b>ä|[x]": ("folder", 4),
        "night": ("label", 3),
    }
    table = pq.read_table(folder / "out" / "per_photograph.parquet").to_pandas()
    people = table[table["path"].str.startswith("people/")]
    for name in ("l1_ab", "colorfulness", "colorfulness_error"):
        assert slices["people"][name] == pytest.approx(people[name].mean())
    assert slices["people"]["champion"]["l1_ab"] == pytest.approx(people["champion_l1_ab"].mean())
    for part in (result, *slices.values()):
        assert part.keys() >= ALWAYS
        assert part["gray"].keys() >= ALWAYS
        assert part["interval"].keys() == ALWAYS
        assert part["difference"].keys() == part["baseline_difference"]["gray"].keys() == ALWAYS - {"colorfulness_real"}
        for name, ends in part["interval"].items():
            assert ends["low"] <= ends["high"], name
        assert part["interval"]["l1_ab"]["low"] < part["l1_ab"] < part["interval"]["l1_ab"]["high"]
    assert json.loads((folder / "out" / "metrics.json").read_text()) == result


def test_the_whole_equals_the_mean_of_slices_that_divide_it(sliced: tuple[dict[str, Any], Path]) -> None:
    result, _ = sliced
    parts = [each for each in result["slices"].values() if each["by"] == "folder"]
    weights = [each["photographs"] for each in parts]
    for name in ("l1_ab", "psnr", "colorfulness_error"):
        assert np.average([each[name] for each in parts], weights=weights) == pytest.approx(result[name])


def test_the_report_shows_each_slice_and_escapes_its_name(sliced: tuple[dict[str, Any], Path]) -> None:
    page = (sliced[1] / "out" / "report.html").read_text(encoding="utf-8")
    assert "people: every metric of 5 photographs" in page
    assert "&lt;b&gt;ä|[x]" in page
    assert "<b>ä" not in page


def test_mlflow_has_the_figures_of_each_slice(
    sliced: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, folder = sliced
    monkeypatch.chdir(folder)
    client = connection.connect()
    (run,) = client.search_runs([runs.experiment_id(client)])
    logged, people = run.data.metrics, result["slices"]["people"]
    assert logged["slice/people/photographs"] == 5
    assert logged["slice/people/l1_ab"] == pytest.approx(people["l1_ab"])
    assert logged["slice/people/l1_ab/low"] == pytest.approx(people["interval"]["l1_ab"]["low"])
    assert logged["slice/_b_ä_/x/l1_ab"] == pytest.approx(result["slices"]["<b>ä|[x]"]["l1_ab"])
    assert torch.isfinite(torch.tensor(list(logged.values()))).all()
