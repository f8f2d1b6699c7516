"""Tests of the tree of MLflow runs of a pipeline run, in SQLite and on a server, with and without Kubeflow's plugin."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from components.evaluate.step import evaluate
from components.register.step import register
from components.shared.mlflow import connection, runs, tree
from components.shared.step import step
from components.train.step import train
from model.utils.errors import UserError
from tests.support import made
from tests.support.mlflow_server import mlflow_server
from tests.support.retrained import RULES, TAGS
from tests.support.tiny import tiny_config, tiny_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

SCORING = made.config(batch_size=8, samples=2)
PARENT = "mlflow.parentRunId"
PLUGINS = {"kfp.pipeline_run_id": "first", "kfp.pipeline_run_url": "/#/runs/details/first"}
"""Tags of the parent run that Kubeflow's plugin creates."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "dataset", test=6)


@pytest.fixture(scope="module")
def server(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(migrated, folder)
    with mlflow_server(folder) as address:
        yield address


@pytest.fixture(params=["SQLite", "server"])
def client(request: pytest.FixtureRequest, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """Yields a client of an MLflow without runs and versions, which the steps also use."""
    if request.param == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("server"))
    client = connection.connect()
    yield client
    for run in all_runs(client):
        client.delete_run(run.info.run_id)
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)


def all_runs(client: MlflowClient) -> list[Any]:
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def shape(client: MlflowClient) -> list[tuple[str, str, str]]:
    """Returns (name of the parent, name, status) of every run."""
    names = {run.info.run_id: run.info.run_name for run in all_runs(client)}
    return sorted(
        (names.get(run.data.tags.get(PARENT), ""), run.info.run_name, run.info.status) for run in all_runs(client)
    )


def retrain(dataset: Path, enter: Callable[[str], None] = lambda _: None, reused: tuple[str, ...] = ()) -> None:
    """Runs the steps that log, by their real functions; `enter` prepares a step's environment."""
    for name, body in {
        "train": lambda: train(dataset, Path("model"), Path("checkpoints"), tiny_config()),
        "evaluate": lambda: evaluate(dataset, Path("model"), Path("evaluation"), SCORING),
        "register": lambda: register(Path("model"), Path("evaluation"), Path("registration"), RULES, TAGS),
    }.items():
        if name not in reused:
            enter(name)
            body()


def failed(client: MlflowClient) -> tuple[str, str] | None:
    experiment = runs.experiment_id(client)
    parent = tree.find(client, experiment)
    assert parent
    failure = tree.failure(client, experiment, parent)
    return (failure.step, failure.reason) if failure else None


def end(client: MlflowClient, succeeded: bool) -> None:
    experiment = runs.experiment_id(client)
    parent = tree.find(client, experiment)
    assert parent
    tree.close(client, experiment, parent, succeeded, {"recipe": "demo"})


def test_a_pipeline_run_makes_one_parent_run_with_a_child_for_each_step(
    client: MlflowClient, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_RUN_ID", "first")
    retrain(dataset)
    end(client, succeeded=True)
    first = [("", "first", "FINISHED"), *(("first", name, "FINISHED") for name in ("evaluate", "register", "train"))]
    assert shape(client) == first
    (parent,) = (run for run in all_runs(client) if run.info.run_name == "first")
    assert parent.data.tags["kfp.pipeline_run_id"] == "first"  # the plugin sets the same tag
    assert parent.data.tags["recipe"] == "demo"

    monkeypatch.setenv("KFP_RUN_ID", "second")
    retrain(dataset, reused=("train", "evaluate"))
    end(client, succeeded=False)
    assert shape(client) == sorted([*first, ("", "second", "FAILED"), ("second", "register", "FINISHED")])


@pytest.fixture
def enter(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Returns a function that does what the plugin does before a task; a graph's run ends with its driver."""
    found = client.get_experiment_by_name("team")
    experiment = found.experiment_id if found else client.create_experiment("team")
    monkeypatch.setenv("KFP_RUN_ID", "first")
    root = client.create_run(experiment, tags=PLUGINS, run_name="retraining-1").info.run_id
    graph = client.create_run(experiment, tags={PARENT: root}, run_name="exit-handler-1").info.run_id
    client.set_terminated(graph, "FINISHED")

    def before(name: str) -> None:
        above = root if name == "report-outcome" else graph
        run = client.create_run(experiment, tags={PARENT: above}, run_name=name).info.run_id
        monkeypatch.setenv("MLFLOW_RUN_ID", run)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", connection.uri())

    return before


def test_steps_log_to_the_runs_that_the_plugin_injects(
    client: MlflowClient, dataset: Path, enter: Callable[[str], None]
) -> None:
    retrain(dataset, enter)
    enter("report-outcome")
    end(client, succeeded=True)  # the plugin closes its own runs
    assert shape(client) == [
        ("", "retraining-1", "RUNNING"),
        ("exit-handler-1", "evaluate", "FINISHED"),
        ("exit-handler-1", "register", "FINISHED"),
        ("exit-handler-1", "train", "FINISHED"),
        ("retraining-1", "exit-handler-1", "FINISHED"),
        ("retraining-1", "report-outcome", "RUNNING"),
    ]
    assert client.get_experiment_by_name("another") is None
    logged = {run.info.run_name: run.data for run in all_runs(client)}
    assert "reconstruction" in logged["train"].metrics
    assert "l1_ab" in logged["evaluate"].metrics
    assert client.get_model_version("colorizer", "1").run_id == next(
        run.info.run_id for run in all_runs(client) if run.info.run_name == "register"
    )


def test_a_failed_step_is_found_in_the_plugins_tree(client: MlflowClient, enter: Callable[[str], None]) -> None:
    enter("preprocess")
    with pytest.raises(SystemExit), step("preprocess"):
        raise UserError("data/ has 3 usable photographs")
    enter("report-outcome")
    assert failed(client) == ("preprocess", "data/ has 3 usable photographs")


def test_the_plugins_runs_are_found_without_an_injected_run_id(
    client: MlflowClient, enter: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train", "report-outcome"):
        enter(name)
    monkeypatch.delenv("MLFLOW_RUN_ID")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team")
    with pytest.raises(SystemExit), step("train"):
        raise UserError("the loss is not finite")
    assert failed(client) == ("train", "the loss is not finite")
    end(client, succeeded=False)
    assert shape(client) == [
        ("", "retraining-1", "RUNNING"),
        ("exit-handler-1", "train", "FAILED"),
        ("retraining-1", "exit-handler-1", "FINISHED"),
        ("retraining-1", "report-outcome", "RUNNING"),
    ]


def test_resolve_creates_the_parent_run_that_parallel_steps_find(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_RUN_ID", "first")
    runs.begin_pipeline_run()
    experiment = runs.experiment_id(client)
    with ThreadPoolExecutor(4) as pool:
        parents = set(pool.map(lambda _: tree.ensure_parent_run(client, experiment), range(4)))
    (run,) = all_runs(client)
    assert {run.info.run_id} == parents
    assert run.data.tags["kfp.pipeline_run_id"] == "first"


def test_a_retried_step_resumes_its_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_RUN_ID", "first")
    with pytest.raises(ZeroDivisionError), runs.start_run("train") as first:
        raise ZeroDivisionError
    with runs.start_run("train", run_id="0" * 32) as again:
        assert again.id == first.id
    assert shape(connection.connect()) == [("", "first", "RUNNING"), ("first", "train", "FINISHED")]


def test_a_failed_step_records_its_error_in_the_tree(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_RUN_ID", "first")
    with pytest.raises(SystemExit), step("preprocess"):
        raise UserError("data/ has 3 usable photographs")
    client = connection.connect()
    assert failed(client) == ("preprocess", "data/ has 3 usable photographs")
    end(client, succeeded=False)
    assert shape(client) == [("", "first", "FAILED"), ("first", "preprocess", "FAILED")]


def test_a_killed_step_is_found_and_its_run_is_closed(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_RUN_ID", "first")
    client = connection.connect()
    experiment = runs.experiment_id(client)
    parent = tree.ensure_parent_run(client, experiment)
    client.create_run(experiment, tags={PARENT: parent}, run_name="train")
    name, words = failed(client) or ("", "")
    assert name == "train"
    assert "without an error message" in words
    end(client, succeeded=False)
    assert shape(client) == [("", "first", "FAILED"), ("first", "train", "FAILED")]


def test_a_failed_step_outside_a_pipeline_run_leaves_no_run(workplace: Path) -> None:
    with pytest.raises(SystemExit), step("preprocess"):
        raise UserError("data/ has 3 usable photographs")
    assert all_runs(connection.connect()) == []
