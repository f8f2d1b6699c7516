"""The compiled pipeline: current, the same bytes every time, and asking for what the table says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kfp import compiler

from model.errors import UserError
from pipeline import compiled
from pipeline.graph import RESOURCES, TRAIN_ATTEMPT_SECONDS, TRAIN_RETRIES, retraining


@pytest.fixture(scope="module")
def documents() -> list[dict]:
    return list(yaml.safe_load_all(compiled.COMPILED.read_text(encoding="utf-8")))


def tasks(spec: dict) -> dict[str, dict]:
    """Every task of the pipeline, however deep, by name."""
    found = dict(spec["root"]["dag"]["tasks"])
    for component in spec["components"].values():
        found.update(component.get("dag", {}).get("tasks", {}))
    return found


def test_yaml_in_the_repository_is_current():
    compiled.check()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_compiles_to_the_same_bytes_in_any_process(tmp_path: Path, hash_seed: str):
    program = "import sys; from pathlib import Path; from pipeline import compiled; compiled.write(Path(sys.argv[1]))"
    target = tmp_path / "retraining.yaml"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run([sys.executable, "-c", program, str(target)], check=True, env=environment)
    assert target.read_bytes() == compiled.COMPILED.read_bytes()


def test_a_stale_yaml_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stale = tmp_path / "retraining.yaml"
    stale.write_bytes(compiled.COMPILED.read_bytes() + b"# edited\n")
    monkeypatch.setattr(compiled, "COMPILED", stale)
    with pytest.raises(UserError, match="colorize compile"):
        compiled.check()


def test_every_step_asks_for_what_the_table_says(documents: list[dict]):
    executors = documents[0]["deploymentSpec"]["executors"]
    components = {"report-outcome": "report"}
    seen = {}
    for name, executor in executors.items():
        step = name.removeprefix("exec-")
        seen[components.get(step, step)] = executor["container"]["resources"]
    assert seen.keys() == RESOURCES.keys()
    for step, resources in seen.items():
        expected = RESOURCES[step]
        assert resources["resourceCpuRequest"] == expected.cpu, step
        assert resources["resourceCpuLimit"] == expected.cpu_limit, step
        assert resources["resourceMemoryRequest"] == expected.memory, step
        assert resources["resourceMemoryLimit"] == expected.memory_limit, step
        accelerator = resources.get("accelerator", {})
        assert int(accelerator.get("resourceCount", 0)) == expected.gpus, step


def test_training_is_retried_within_a_window_that_holds_every_attempt(documents: list[dict]):
    train = tasks(documents[0])["train"]
    window = int(train["retryPolicy"]["backoffMaxDuration"].removesuffix("s"))
    assert train["retryPolicy"]["maxRetryCount"] == TRAIN_RETRIES
    assert window > (TRAIN_RETRIES + 1) * TRAIN_ATTEMPT_SECONDS
    platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    assert int(platform["activeDeadlineSeconds"]) == TRAIN_ATTEMPT_SECONDS


def test_what_acts_on_the_registry_or_tells_people_is_never_cached(documents: list[dict]):
    cached = {name for name, task in tasks(documents[0]).items() if task.get("cachingOptions", {}).get("enableCache")}
    assert {"preprocess", "train", "evaluate"} <= cached
    assert not cached & {"register", "gate", "promote", "reject", "report-outcome"}


def test_data_version_and_code_key_the_cached_steps(documents: list[dict]):
    inputs = {name: task.get("inputs", {}).get("parameters", {}) for name, task in tasks(documents[0]).items()}
    assert "data_version" in inputs["preprocess"]
    for step in ("preprocess", "train", "evaluate"):
        assert "code" in inputs[step], step
        assert not any("run" in name for name in inputs[step]), step


def test_component_source_is_ascii():
    # The compiled YAML may be stored in database columns that take nothing else.
    compiled.COMPILED.read_bytes().decode("ascii")


def test_the_graph_in_memory_is_what_is_compiled(tmp_path: Path):
    target = tmp_path / "retraining.yaml"
    compiler.Compiler().compile(retraining, str(target))
    assert target.read_bytes() == compiled.COMPILED.read_bytes()
