"""Tests of the inspect step on real photographs, unchanged and darkened: alarms, outputs, refusals and page."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.inspect.component import inspect as inspect_component
from components.inspect.config import InspectConfig
from components.inspect.distributions import measure
from components.inspect.rejected import EACH, rejected
from components.inspect.step import FILE, inspect
from components.preprocess.step import preprocess
from components.register.step import promote, register
from components.report.step import report
from components.shared.mlflow import connection, evaluations, registry, runs
from model.utils.errors import UserError
from pipeline import ROOT
from pipeline.config import load_config
from tests.components.evaluate.test_report import Page
from tests.support.made import HOSTILE
from tests.support.retrained import RULES, TAGS, evaluated, trained
from tests.support.tiny import tiny_dataset

WARN, STOP = InspectConfig(psi_warn=0.1, psi_stop=0.0), InspectConfig(psi_warn=0.1, psi_stop=0.25)
CHAMPION = "models:/colorizer/1"


def preprocessed(photos: Path, out: Path, version: str) -> Path:
    small = load_config(ROOT / "params.yaml").preprocess.model_copy(update={"size": 32, "min_photographs": 1})
    preprocess(photos, out, small, data_version=version * 32, workers=2)
    return out


def photographs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".webp"))


@pytest.fixture(scope="module")
def unchanged(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a dataset of two thirds of the photographs, unchanged."""
    folder = tmp_path_factory.mktemp("as-they-are") / "photos"
    folder.mkdir()
    for number, path in enumerate(photographs(photos)):
        if number % 3:
            shutil.copy(path, folder / f"{number:03}{path.suffix}")
    return preprocessed(folder, folder.parent / "dataset", "a")


@pytest.fixture(scope="module")
def others(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the other third, darker and greener, and with files that are rejected."""
    folder = tmp_path_factory.mktemp("others") / "photos"
    (folder / HOSTILE).parent.mkdir(parents=True)
    files = photographs(photos)[::3]
    for number, path in enumerate(files):
        with Image.open(path) as image:
            image.thumbnail((400, 400))
            pixels = (np.asarray(image.convert("RGB")) / 255) ** 1.8 * (0.8, 1.0, 0.85)
        Image.fromarray((255 * pixels).astype(np.uint8)).save(folder / f"{number:03}.jpg", quality=92)
    with Image.open(folder / "007.jpg") as image:
        image.resize((image.width * 9 // 10, image.height * 9 // 10)).save(folder / "again.jpg")
        image.convert("L").save(folder / "gray.jpg")
        image.resize((64, 48)).save(folder / HOSTILE)
    shutil.copy(folder / "008.jpg", folder / "zopy.jpg")
    (folder / "broken.jpg").write_bytes((folder / "009.jpg").read_bytes()[:3000])
    (folder / "outside.jpg").symlink_to(files[0])
    return folder


@pytest.fixture(scope="module")
def shifted(others: Path) -> Path:
    return preprocessed(others, others.parent / "shifted", "b")


@pytest.fixture
def champion(workplace: Path, unchanged: Path) -> dict[str, Any]:
    """Registers version 1, trained on the unchanged photographs, as champion."""
    model = trained(workplace / "model")
    inspect(unchanged, None, workplace / "inspection", WARN)
    record = register(model, evaluated(model, 0.5), workplace / "out", RULES, TAGS, workplace / "inspection")
    promote(workplace / "out")
    return record


@pytest.mark.usefixtures("champion")
def test_the_same_photographs_have_no_drift(unchanged: Path, workplace: Path) -> None:
    result = inspect(unchanged, None, workplace / "again", STOP, CHAMPION)
    assert {each["psi"] for each in result["psi"].values()} == {0}
    assert (result["alarm"], result["not_compared"], result["champions_data_version"]) == ("", "", "a" * 32)
    assert set(result["psi"]) == measure(unchanged).counts.keys()


@pytest.mark.usefixtures("champion")
def test_darker_and_greener_photographs_raise_an_alarm_in_mlflow_registry_and_report(
    shifted: Path, others: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = inspect(shifted, others, workplace / "inspection", WARN, CHAMPION)
    verdicts = {name: each["verdict"] for name, each in result["psi"].items()}
    assert {"lightness", "hue"} <= {name for name, verdict in verdicts.items() if verdict == "warn"}
    assert verdicts["aspect_ratio"] == "steady"
    assert result["psi"]["lightness"]["psi"] > 0.25
    assert result["alarm"].startswith(f"The photographs differ from those of {CHAMPION}: ")
    assert "lightness (PSI " in result["alarm"]
    assert result["alarm"].endswith(" above inspect.psi_warn (0.1).")
    assert json.loads((workplace / "inspection" / "drift.json").read_bytes()) == result

    client = connection.connect()
    (run,) = client.search_runs([runs.experiment_id(client)], "tags.data_drift LIKE '%lightness%'")
    assert run.data.tags["data_drift"] == result["alarm"]
    assert run.data.metrics["psi_hue"] == result["psi"]["hue"]["psi"]
    logged = {file.path for file in client.list_artifacts(run.info.run_id, "inspection")}
    assert logged == {f"inspection/{name}" for name in ("data.html", "drift.json", FILE)}

    registry.set_tags(1, {"judged_in": "an earlier run"})
    monkeypatch.setenv("KFP_RUN_ID", TAGS["pipeline_run_id"])
    model = trained(workplace / "second")
    record = register(model, evaluated(model, 0.6, 0.5), workplace / "out", RULES, TAGS, workplace / "inspection")
    assert record["data_drift"] == registry.get(2).tags["data_drift"] == result["alarm"]
    told = report("SUCCEEDED", "", "demo", "b.dir")
    assert told["data_drift"] == result["alarm"]
    assert result["alarm"] in told["text"].splitlines()
    kept = evaluations.read(registry.get(2), FILE)  # the next version is compared with it
    assert kept is not None
    assert json.loads(kept)["data_version"] == "b" * 32


@pytest.mark.usefixtures("champion")
def test_drift_beyond_psi_stop_ends_the_run_and_keeps_the_page(
    shifted: Path, others: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Artifact:
        def __init__(self, path: Path) -> None:
            self.path = str(path)

    places = [Artifact(workplace / name) for name in ("inspection", "page.html")]
    with pytest.raises(SystemExit) as ended:
        inspect_component.python_func(
            str(others), Artifact(shifted), CHAMPION, {"psi_warn": 0.1, "psi_stop": 0.25}, "code", *places
        )
    assert ended.value.code == 1
    progress, said = capsys.readouterr().err.splitlines()
    assert progress.startswith("inspect: ")
    assert said.startswith(
        f"error: The photographs differ from those of {CHAMPION} by more than inspect.psi_stop (0.25) in "
    )
    assert "lightness (PSI " in said
    assert "raise inspect.psi_stop (0: never stop)" in said
    page = Page((workplace / "inspection" / "data.html").read_text(encoding="utf-8"))
    assert "above inspect.psi_stop (0.25)" in page.text


def test_a_missing_champion_or_missing_distributions_are_named(
    retrain: Callable[..., Any], unchanged: Path, workplace: Path
) -> None:
    result = inspect(unchanged, None, workplace / "inspection", STOP)
    assert (result["psi"], result["alarm"]) == ({}, "")
    assert result["not_compared"] == "There is no champion yet."
    retrain(0.5)
    result = inspect(unchanged, None, workplace / "inspection", STOP, CHAMPION)
    assert result["not_compared"].startswith(f"{CHAMPION} was registered without {FILE}")
    assert "was registered without" in Page((workplace / "inspection" / "data.html").read_text(encoding="utf-8")).text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"schema_version": 0}', "counts by other bins (schema version 0)"),
        ('{"schema_version": 1}', "is damaged"),
        ("<p>", "is damaged"),
        ("[]", "is damaged"),
    ],
)
@pytest.mark.usefixtures("champion")
def test_unusable_distributions_of_the_champion_are_explained(workplace: Path, content: str, why: str) -> None:
    for path in workplace.glob(f"workspace/mlartifacts/**/evaluation/{FILE}"):
        path.write_text(content, encoding="utf-8")
    dataset = tiny_dataset(workplace / "dataset")
    assert why in inspect(dataset, None, workplace / "inspection", STOP, CHAMPION)["not_compared"]


@pytest.mark.usefixtures("champion")
def test_an_unreachable_registry_is_an_error(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be used"):
        inspect(tiny_dataset(workplace / "dataset"), None, workplace / "inspection", STOP, CHAMPION)


def test_examples_of_rejected_files_show_only_readable_photographs(shifted: Path, others: Path) -> None:
    found = rejected(shifted, others)
    assert {kind: group.count for kind, group in found.items() if kind not in ("colorless", "near-duplicate")} == {
        "duplicate": 1, "too small": 1, "unreadable": 1, "outside": 1,
    }  # fmt: skip
    assert all(len(group.examples) == min(EACH, group.count) for group in found.values())
    assert found["unreadable"].examples[0].picture is None
    assert found["outside"].examples[0].picture is None  # never opened
    (small,) = found["too small"].examples
    assert (small.path, small.width, small.height) == (HOSTILE, 64, 48)
    assert small.picture is not None
    (copy,) = found["duplicate"].examples
    assert (copy.path, copy.twin) == ("zopy.jpg", "008.jpg")
    twins = [copy, *(each for each in found["near-duplicate"].examples if "again.jpg" in (each.path, each.twin))]
    assert len(twins) == 2
    for each in twins:
        assert each.picture is not None
        assert each.twins_picture is not None
        side = min(each.picture.shape[:2])
        square = Image.fromarray(each.picture).crop(_center(each.picture.shape, side)).resize((32, 32))
        assert np.abs(np.asarray(square).astype(int) - each.twins_picture).mean() < 12  # it shows the twin


def _center(shape: tuple[int, ...], side: int) -> tuple[int, int, int, int]:
    left, top = (shape[1] - side) // 2, (shape[0] - side) // 2
    return left, top, left + side, top + side


def test_a_file_that_changed_after_preprocessing_is_not_shown(shifted: Path, others: Path, tmp_path: Path) -> None:
    changed = tmp_path / "photos"
    shutil.copytree(others, changed, symlinks=True)
    shutil.copy(changed / "001.jpg", changed / "zopy.jpg")
    assert rejected(shifted, changed)["duplicate"].examples[0].picture is None
    assert rejected(shifted, None)["duplicate"].examples[0].picture is None


@pytest.mark.usefixtures("champion")
def test_the_page_loads_no_other_file_runs_no_script_and_escapes_hostile_names(
    shifted: Path, others: Path, workplace: Path
) -> None:
    inspect(shifted, others, workplace / "inspection", WARN, CHAMPION)
    text = (workplace / "inspection" / "data.html").read_text(encoding="utf-8")
    page = Page(text)
    assert HOSTILE in page.text
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.elements)
    assert not page.handlers
    assert page.loaded
    assert all(address.startswith("data:image/jpeg") for address in page.loaded)
    assert "url(" not in text
    assert "default-src 'none'" in text
    for name in ("lightness", "hue", "file_type", "near-duplicate", "b" * 32, "a" * 32):
        assert name in page.text
