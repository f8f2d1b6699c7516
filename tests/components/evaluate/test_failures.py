"""Tests of the evaluate step with broken generators, wrong inputs and wrong arguments."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.evaluate.step import evaluate
from components.register.config import Rule
from components.register.gate import judge
from model.data.format import Row
from model.data.shards import Shards
from model.data.writer import write_dataset
from model.utils.errors import UserError
from tests.support.command import COLORIZE, environment
from tests.support.made import ALWAYS, SIZE, config

ROOT = Path(__file__).resolve().parents[3]


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


RULES = {"l1_ab": Rule(direction="down", change=-100.0, bound=1000.0)}


def test_a_generator_with_nan_weights_gets_null_metrics_and_is_rejected(
    dataset: Path, models: dict[str, Path], workplace: Path
) -> None:
    evaluate(dataset, models["broken"], workplace / "out", config(), champion=str(models["champion"]))
    written = json.loads((workplace / "out" / "metrics.json").read_text(), parse_constant=no_constant)
    of_colorings = ALWAYS - {"colorfulness_real"}
    assert all(written[name] is None for name in of_colorings)
    assert all("finite" in written["absent"][name] for name in of_colorings)
    assert all(np.isfinite(written["champion"][name]) for name in ALWAYS)
    assert "not a number" in (workplace / "out" / "report.html").read_text()
    assert np.isnan(pq.read_table(workplace / "out" / "per_photograph.parquet")["l1_ab"]).all()
    assert judge(written, RULES).outcome == "reject"
    assert judge(written["champion"], RULES).outcome == "promote"  # the rules themselves would let it pass


def test_a_champion_with_nan_weights_gets_null_metrics(dataset: Path, models: dict[str, Path], workplace: Path) -> None:
    result = evaluate(dataset, models["deterministic"], workplace / "out", config(), champion=str(models["broken"]))
    assert result["champion"]["l1_ab"] is None
    assert "champion" in result["absent"]["champion.l1_ab"]
    assert np.isfinite(result["l1_ab"])
    assert judge(result, RULES).outcome == "reject"


def refused(*arguments: Any, **keywords: Any) -> str:
    with pytest.raises(UserError) as error:
        evaluate(*arguments, **keywords)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_wrong_inputs_are_named_in_one_line_and_leave_no_output(
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


def test_a_dataset_without_test_photographs_is_refused(models: dict[str, Path], workplace: Path) -> None:
    empty = workplace / "empty"
    empty.mkdir()
    rows = [Row("a.jpg", "a" * 64, 16, 16, "train", "kept", "")]
    write_dataset(empty, rows, lambda _: np.full((3, 16, 16), 128, np.uint8), size=16, data_version="0" * 32)
    assert "no test photographs" in refused(empty, models["challenger"], workplace / "out", config())


def test_another_split_is_scored_and_named(dataset: Path, models: dict[str, Path], workplace: Path) -> None:
    assert "no val photographs" in refused(dataset, models["challenger"], workplace / "out", config(split="val"))
    folder = workplace / "validated"
    folder.mkdir()
    shards = {split: Shards.open(dataset, split) for split in ("train", "test")}
    labs, rows = {}, []
    for name, split in (("train", "train"), ("test", "val")):
        for index, sha256 in enumerate(shards[name].sha256s):
            labs[sha256] = shards[name][[index]][0]
            rows.append(Row(shards[name].paths[index], sha256, SIZE, SIZE, split, "kept", ""))
    write_dataset(folder, rows, labs.__getitem__, size=SIZE, data_version="0" * 32)
    on_val = evaluate(folder, models["challenger"], workplace / "val", config(split="val"))
    on_test = evaluate(dataset, models["challenger"], workplace / "test", config())
    assert (on_val["protocol"]["split"], on_test["protocol"]["split"]) == ("val", "test")
    assert on_val["l1_ab"] == pytest.approx(on_test["l1_ab"])
    assert "photographs of the split val" in (workplace / "val" / "report.html").read_text()


def command_line(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COLORIZE, "step", "evaluate", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_writes_the_evaluation_and_names_a_missing_dataset(
    dataset: Path, models: dict[str, Path], workplace: Path
) -> None:
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
