"""Several variants: `colorize run --variants` on real photographs in small, the compiled graph, `colorize submit`."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from components.shared.machine.workspace import VARIABLE
from pipeline import compile as compiled
from pipeline.local import run as local_run
from pipeline.variants import Variants
from tests.support.kfp_server import KfpServer
from tests.support.small_run import SMALL

NAMES = ("train.seed=0", "train.seed=1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sweep")
    shutil.copytree(photos / "scratch", folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder / "workspace"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("COLORIZE_WEBHOOK_URL", raising=False)
        yield folder


def sweep(place: Path, *variants: str) -> local_run.RunResult:
    return local_run.run(Variants.load(",".join(variants), "small", SMALL, "l1_ab"), place / "photos")


def outcomes(result: local_run.RunResult) -> dict[str, str]:
    return {step.step: step.outcome for step in result.steps}


def test_a_variant_that_fails_loses_neither_the_others_nor_its_words(place: Path):
    result = sweep(place, "train.init=nowhere", NAMES[0])
    assert result.exit_status == 1
    assert result.trouble
    assert result.trouble.step == "train train.init=nowhere"
    assert "nowhere" in result.trouble.message
    ended = outcomes(result)
    assert ended[f"train {NAMES[0]}"] == ended[f"evaluate {NAMES[0]}"] == ended["report"] == "done"
    assert ended["choose"] == ended["register"] == "not run"


def test_what_is_finished_is_reused_and_the_best_goes_to_the_gate(place: Path):
    from components.shared.mlflow import connection, registry, runs

    result = sweep(place, *NAMES)
    ended = outcomes(result)
    assert result.trouble is None, result
    assert ended["preprocess"] == ended[f"train {NAMES[0]}"] == ended[f"evaluate {NAMES[0]}"] == "reused"
    assert ended[f"train {NAMES[1]}"] == ended[f"evaluate {NAMES[1]}"] == ended["choose"] == ended["promote"] == "done"
    assert ended["reject"] == "not run"
    assert all(name in result.folders["comparison"].read_text(encoding="utf-8") for name in NAMES)
    client = connection.connect()
    ran = {run.info.run_name: run for run in client.search_runs([runs.experiment_id(client)])}
    assert {f"{step} {name}" for step in ("train", "evaluate") for name in NAMES} <= ran.keys()
    scores = {name: ran[f"evaluate {name}"].data.metrics for name in NAMES}
    champion = registry.champion()
    assert champion
    assert champion.tags["recipe"] == min(NAMES, key=lambda name: scores[name]["l1_ab"])


def test_variants_of_the_compiled_graph_share_their_photographs_and_meet_in_choose(tmp_path: Path):
    compiled.check(of=compiled.SWEEP)
    (tmp_path / "cluster.yaml").write_text("variants: 5", encoding="utf-8")
    compiled.write(tmp_path / "out.yaml", tmp_path / "cluster.yaml", of=compiled.SWEEP)
    spec, platform = yaml.safe_load_all((tmp_path / "out.yaml").read_text(encoding="utf-8"))
    dags = {name: one["dag"]["tasks"] for name, one in spec["components"].items() if "dag" in one}
    (loop,) = [name for name, tasks in dags.items() if "train" in tasks]
    assert dags[loop].keys() == {"train", "evaluate"}
    (around,) = [tasks for tasks in dags.values() if "choose" in tasks]
    (iterated,) = [task for task in around.values() if task["componentRef"]["name"] == loop]
    assert iterated["iteratorPolicy"]["parallelismLimit"] == 5
    assert {"merge", "inspect"} <= set(iterated["dependentTasks"])
    assert set(around["choose"]["dependentTasks"]) > {"merge"}
    assert around["merge"]["cachingOptions"] == {"enableCache": True}
    executors = spec["deploymentSpec"]["executors"]
    assert "accelerator" in executors["exec-train"]["container"]["resources"]
    assert platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].keys() == executors.keys()


def test_a_sweep_is_submitted_as_a_pipeline_of_its_own(kfp: KfpServer, colorize: Callable[..., object]):
    done = colorize("submit", "--recipe", "small", "--variants", ",".join(NAMES), "--by", "l1_ab")
    assert done.status == 0, done.err
    ((_, run),) = kfp.runs.items()
    arguments = run["runtime_config"]["parameters"]
    assert [each["variant"] for each in arguments["variants"]] == list(NAMES)
    assert [each["train"]["seed"] for each in arguments["variants"]] == [0, 1]
    assert arguments["choose_config"] == {"by": "l1_ab"}
    ((_, version),) = kfp.versions.items()
    spec = version["pipeline_spec"]["pipeline_spec"]
    assert spec["pipelineInfo"]["name"] == "colorizer-sweep"
    assert arguments.keys() | {"partitions"} == spec["root"]["inputDefinitions"]["parameters"].keys()
