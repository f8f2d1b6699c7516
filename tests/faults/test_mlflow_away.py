"""Tests of an MLflow server that is away during training, for longer than its client retries."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from tests.faults.rig import Rig, Started
from tests.support.mlflow_server import mlflow_server

AWAY = 25  # seconds; MLflow's client gives up after some 10
LONG = ("train.images=6400", "train.log_every=64", "train.sample_every=1600", "train.checkpoint_every=64")


def _started(rig: Rig, address: str) -> Started:
    rig.environment = {"MLFLOW_TRACKING_URI": address}
    started = rig.start(*LONG)
    started.step("train")
    while not list(rig.workspace.glob("checkpoints/*/checkpoint-*")):
        time.sleep(0.02)
    return started


def _images(rig: Rig) -> int:
    """Returns the number of images of the newest checkpoint."""
    return max(int(path.stem.rpartition("-")[2]) for path in rig.workspace.glob("checkpoints/*/checkpoint-*"))


def _curve(rig: Rig, database: Path) -> list[int]:
    """Returns the steps at which MLflow has a point of the training's curve."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("colorizer").experiment_id
    (run,) = client.search_runs([experiment], "attributes.run_name = 'train small'")
    assert run.info.status == "FINISHED"
    return [point.step for point in client.get_metric_history(run.info.run_id, "reconstruction")]


def test_a_hanging_server_does_not_block_training_and_gets_all_metrics_later(rig: Rig) -> None:
    server = rig.folder / "server"
    server.mkdir()
    with mlflow_server(server) as address:
        processes = psutil.Process().children(recursive=True)
        started = _started(rig, address)
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        before = _images(rig)
        time.sleep(AWAY)
        assert _images(rig) > before
        for process in processes:
            process.send_signal(signal.SIGCONT)
        run = started.end()
        assert run.status == 0, run.output
    assert _curve(rig, server / "mlflow.db") == list(range(64, 6401, 64))


def test_a_stopped_server_gives_a_warning_and_a_restarted_one_gets_all_metrics(rig: Rig) -> None:
    server = rig.folder / "server"
    server.mkdir()
    with ExitStack() as first:
        address = first.enter_context(mlflow_server(server))
        started = _started(rig, address)
    time.sleep(AWAY)
    with mlflow_server(server, port=int(address.rpartition(":")[2])):
        run = started.end()
    assert run.status == 0, run.output
    assert f"warning: MLflow at {address} cannot be used" in run.output
    assert "Training continues; queued writes are sent when MLflow is reachable again." in run.output
    assert "warning: MLflow is reachable again; " in run.output
    assert _curve(rig, server / "mlflow.db") == list(range(64, 6401, 64))
