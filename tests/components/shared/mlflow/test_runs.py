"""Tests of MLflow runs in a real SQLite store: logged values, the status at the end, and the run that a step joins."""

import threading
from pathlib import Path

import pytest

from components.shared.mlflow import connection, runs
from model.utils.errors import UserError


def _status(run_id: str) -> str:
    return str(connection.connect().get_run(run_id).info.status)


def test_logged_params_metrics_tags_datasets_and_artifacts_can_be_read(workplace: Path) -> None:
    folder = workplace / "samples"
    folder.mkdir()
    (folder / "a.txt").write_text("a", encoding="utf-8")
    with runs.start_run("train") as run:
        for _ in range(2):  # a resumed run logs its parameters again
            run.log_params(
                {"train": {"learning_rate": 2e-4, "generator": {"skip": True, "norm": "group"}}, "betas": [0, 1]}
            )
        run.log_metrics({"loss": 2.0, "d_accuracy": 0.5}, step=100)
        run.log_metrics({"loss": 1.0}, step=200)
        run.set_tags({"recipe": "demo"})
        run.log_dataset("photographs", "0123456789abcdef0123456789abcdef.dir", "training")
        run.log_artifact(folder, "grids")
    client = connection.connect()
    points = [(point.step, point.value) for point in client.get_metric_history(run.id, "loss")]
    found = client.get_run(run.id)
    assert found.data.params == {
        "train.learning_rate": "0.0002",
        "train.generator.skip": "true",
        "train.generator.norm": "group",
        "betas": "[0, 1]",
    }
    assert points == [(100, 2.0), (200, 1.0)]
    assert found.data.tags["recipe"] == "demo"
    (used,) = found.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("photographs", "0123456789abcdef0123456789abcdef.dir")
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "training"}
    assert [file.path for file in client.list_artifacts(run.id, "grids/samples")] == ["grids/samples/a.txt"]


def test_a_run_ends_with_the_status_of_its_block_and_can_be_resumed(workplace: Path) -> None:
    with pytest.raises(ZeroDivisionError), runs.start_run("train") as run:
        raise ZeroDivisionError
    assert _status(run.id) == "FAILED"
    with runs.start_run("again", run_id=run.id) as resumed:
        assert resumed.id == run.id
        assert _status(run.id) == "RUNNING"
    assert _status(run.id) == "FINISHED"
    assert connection.connect().get_run(run.id).info.run_name == "train"


def test_a_missing_or_deleted_run_is_replaced_by_a_new_one(workplace: Path) -> None:
    with runs.start_run("train", run_id="0" * 32) as run:
        pass
    assert run.id != "0" * 32
    connection.connect().delete_run(run.id)
    with runs.start_run("train", run_id=run.id) as other:
        assert other.id != run.id


def test_an_injected_run_is_used_in_its_own_experiment(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connection.connect()
    injected = client.create_run(client.create_experiment("a team's own")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", injected)
    with runs.start_run("train", run_id="0" * 32) as run:
        run.log_metrics({"loss": 1.0}, step=1)
    assert run.id == injected
    assert client.get_run(injected).data.metrics == {"loss": 1.0}
    assert client.get_experiment_by_name("colorizer") is None


def test_a_nonexistent_injected_run_is_an_error(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(UserError, match="0" * 32), runs.start_run("train"):
        pass


def test_system_metrics_are_logged(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "1")
    with runs.start_run("train", system_metrics=True) as run:
        threading.Event().wait(2.5)
    assert "system/cpu_utilization_percentage" in connection.connect().get_run(run.id).data.metrics


def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(workplace: Path) -> None:
    with runs.start_run("train"):
        pass
    client = connection.connect()
    number = client.get_experiment_by_name(runs.EXPERIMENT).experiment_id
    client.delete_experiment(number)
    deleted = rf"experiment colorizer at sqlite:.* is deleted; restore it \(`mlflow experiments .*-id {number}`"
    with pytest.raises(UserError, match=deleted), runs.start_run("train"):
        pass
    client.restore_experiment(number)
    with runs.start_run("train"):
        pass
