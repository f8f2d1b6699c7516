"""Tests of several variants on real photographs: runs, reuse, comparison and submission."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.shared.machine.workspace import VARIABLE
from pipeline.local import run as local_run
from pipeline.variants import Variants
from tests.support.kfp_server import KfpServer
from tests.support.small_run import SMALL

NAMES = ("train.seed=0", "train.seed=1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("variants")
    shutil.copytree(photos / "scratch", folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder / "workspace"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("COLORIZE_WEBHOOK_URL", raising=False)
        yield folder


def run(place: Path, *variants: str) -> local_run.RunResult:
    return local_run.run(Variants.load(",".join(variants), "small", SMALL, "l1_ab"), place / "photos")


def outcomes(result: local_run.RunResult) -> dict[str, str]:
    return {step.step: step.outcome for step in result.steps}


@pytest.mark.slow
def test_a_failed_variant_keeps_its_error_and_does_not_stop_the_others(place: Path):
    result = run(place, "train.init=nowhere", NAMES[0])
    assert result.exit_status == 1
    assert result.trouble
    assert result.trouble.step == "train train.init=nowhere"
    assert "nowhere" in result.trouble.message
    ended = outcomes(result)
    assert ended[f"train {NAMES[0]}"] == ended[f"evaluate {NAMES[0]}"] == ended["report"] == "done"
    assert ended["choose"] == ended["register"] == "not run"


@pytest.mark.slow
def test_finished_variants_are_reused_and_the_best_is_promoted(place: Path):
    from components.shared.mlflow import connection, registry, runs

    result = run(place, *NAMES)
    ended = outcomes(result)
    assert result.trouble is None, result
    assert ended["preprocess"] == ended[f"train {NAMES[0]}"] == ended[f"evaluate {NAMES[0]}"] == "reused"
    assert ended[f"train {NAMES[1]}"] == ended[f"evaluate {NAMES[1]}"] == ended["choose"] == ended["promote"] == "done"
    comparison = (result.folders["evaluation"] / "comparison.html").read_text(encoding="utf-8")
    assert all(name in comparison for name in NAMES)
    client = connection.connect()
    ran = {run.info.run_name: run for run in client.search_runs([runs.experiment_id(client)])}
    assert {f"{step} {name}" for step in ("train", "evaluate") for name in NAMES} <= ran.keys()
    scores = {name: ran[f"evaluate {name}"].data.metrics for name in NAMES}
    champion = registry.champion()
    assert champion
    assert champion.tags["recipe"] == min(NAMES, key=lambda name: scores[name]["l1_ab"])


@pytest.mark.slow
def test_another_list_of_variants_reuses_unchanged_steps(place: Path):
    result = run(place, NAMES[1])
    ended = outcomes(result)
    assert result.trouble is None, result
    assert ended["preprocess"] == ended["train"] == "reused"
    assert ended["choose"] == ended["register"] == "done"
    assert not (result.folders["evaluation"] / "comparison.html").exists()


def test_variants_are_submitted_to_the_same_pipeline(kfp: KfpServer, colorize: Callable[..., object]):
    done = colorize("submit", "--recipe", "small", "--variants", ",".join(NAMES), "--by", "l1_ab")
    assert done.status == 0, done.err
    ((_, run),) = kfp.runs.items()
    arguments = run["runtime_config"]["parameters"]
    assert [each["name"] for each in arguments["variants"]] == list(NAMES)
    assert [each["train"]["seed"] for each in arguments["variants"]] == [0, 1]
    assert arguments["choose_config"] == {"by": "l1_ab"}
    ((_, version),) = kfp.versions.items()
    spec = version["pipeline_spec"]["pipeline_spec"]
    assert spec["pipelineInfo"]["name"] == "colorizer-retraining"
    assert arguments.keys() | {"partitions"} == spec["root"]["inputDefinitions"]["parameters"].keys()
