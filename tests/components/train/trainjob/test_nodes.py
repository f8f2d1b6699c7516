"""Tests of a TrainJob's command on two nodes: processes on loopback with folders of their own; one is killed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest
import safetensors.torch

from components.shared.machine.workspace import SHARD_CACHE
from components.shared.s3.client import Address
from components.shared.s3.folders import download_folder
from components.shared.s3.streaming.published import publish, published_address, upload_dataset
from components.train.environment import POD
from components.train.torchrun import arguments
from components.train.trainjob.manifest import fill
from model.data import writer
from pipeline.cluster.settings import load_cluster
from pipeline.place import train_job
from tests.support.faulty_proxy import FaultyProxy
from tests.support.patience import patience
from tests.support.remote import latest
from tests.support.s3 import S3Server
from tests.support.tiny import ROOT, tiny_config, tiny_dataset
from tests.support.trainings import history

LONGER = ("images=800", "log_every=80", "sample_every=400", "checkpoint_every=80")

ROUNDING = 2e-3
"""Largest difference of weights between trainings of another number of processes. Half precision has steps of 0.001
for weights from 1 to 2; two seeds differ by 0.01 after a tenth of the images
(tests/model/training/test_resuming.py)."""


class Group:
    """Runs a training on two nodes."""

    def __init__(self, folder: Path, dataset: Path, root: Address, nodes: str = "1:2", *overrides: str) -> None:
        self.root, self._folder = root, folder
        streamed = published_address(dataset)
        if not streamed:
            upload_dataset(dataset, root / "handover" / "dataset")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        work = arguments(
            str(streamed or root / "handover" / "dataset"),
            str(root / "handover" / "model"),
            str(root),
            tiny_config(*LONGER, *overrides),
            "c0de",
        )
        folder.mkdir(parents=True)
        (folder / "cluster.yaml").write_text("gpu: {nodes: 2}")
        manifest = train_job(load_cluster(folder / "cluster.yaml"))
        with patch.dict(os.environ, dict.fromkeys(POD, "step")):
            fill(manifest, folder.name, nodes, work, {} if streamed else {SHARD_CACHE: str(1 << 30)})
        trainer = manifest["spec"]["trainer"]
        rendezvous = ("$(PET_MASTER_ADDR):$(PET_MASTER_PORT)", f"127.0.0.1:{port}")
        command = [sys.executable, *trainer["command"][1:], *(each.replace(*rendezvous) for each in trainer["args"])]
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "MLFLOW_TRACKING_URI": f"sqlite:///{Path('workspace/mlflow.db').resolve()}",
            "PET_NNODES": "2",
            "PET_NPROC_PER_NODE": "1",
            **{each["name"]: each["value"] for each in trainer["env"] if "value" in each},
        }
        self.nodes = []
        for rank in range(2):  # the first to start is the first in rank: on loopback only their process ids differ
            here = folder / f"node-{rank}"
            here.mkdir(parents=True)
            mine = environment | {
                "PET_NODE_RANK": str(rank),
                # The first holds the rendezvous, as by its host name on a cluster; it waits 2 s for others, not 30.
                "PET_RDZV_CONF": f"is_host={rank == 0},last_call_timeout=2",
                "COLORIZE_WORKSPACE": str(here / "workspace"),
            }
            with (here / "log").open("w") as log:
                self.nodes.append(subprocess.Popen(command, cwd=here, env=mine, stdout=log, stderr=log))

    def after(self, s3: S3Server, images: int, act: Callable[[], None]) -> None:
        """Acts once S3 has a checkpoint of so many images."""
        while latest(s3, self.root) < images:
            assert self.nodes[0].poll() is None, self.log(0)
            time.sleep(0.02)
        act()

    def worker(self, node: int) -> psutil.Process:
        """Returns the process that trains on a node."""
        (found,) = (
            each
            for each in psutil.Process(self.nodes[node].pid).children()
            if "components.train.worker" in each.cmdline()
        )
        return found

    def finish(self) -> Path:
        """Waits for the first node; returns the model."""
        assert self.nodes[0].wait(timeout=patience(240)) == 0, self.log(0)
        model = self._folder / "model"
        download_folder(self.root / "handover" / "model", model, "generator.json")
        return model

    def log(self, node: int) -> str:
        return (self._folder / f"node-{node}" / "log").read_text()

    def checkpoints(self, node: int) -> list[Path]:
        return list((self._folder / f"node-{node}").rglob("checkpoint-*"))


def distance(one: Path, other: Path) -> float:
    weights = [safetensors.torch.load_file(folder / "generator.safetensors") for folder in (one, other)]
    return max((weights[0][name].float() - weights[1][name].float()).abs().max().item() for name in weights[0])


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"))


def test_a_killed_process_does_not_change_the_result(
    workplace: Path, dataset: Path, proxy: FaultyProxy, s3: S3Server, root: Address
) -> None:
    undisturbed = Group(workplace / "undisturbed", dataset, root / "undisturbed", "2:2")
    whole = undisturbed.finish()
    assert undisturbed.checkpoints(0)
    assert not undisturbed.checkpoints(1)  # it uses those of the first node
    for node in (0, 1):
        group = Group(workplace / f"killed-{node}", dataset, root / f"killed-{node}", "2:2")
        group.after(s3, 240, lambda: group.worker(node).kill())  # noqa: B023
        model = group.finish()
        assert group.nodes[1].wait(timeout=patience(60)) == 0, group.log(1)
        assert "(exitcode: -9)" in group.log(node)
        assert (model / "generator.safetensors").read_bytes() == (whole / "generator.safetensors").read_bytes()
        assert history(model) == history(whole)
    facts = json.loads((whole / "training.json").read_text())
    assert facts["processes"] == 2


def test_streaming_nodes_train_the_same_weights_as_nodes_with_a_local_dataset(
    workplace: Path, proxy: FaultyProxy, s3: S3Server, root: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node's cache holds half the set, and a process is killed."""
    monkeypatch.setattr(writer, "PER_SHARD", 4)
    whole = tiny_dataset(workplace / "whole", train=59)
    published = Path(shutil.copytree(whole, workplace / "published"))
    publish(published, root / "datasets")
    monkeypatch.setenv(SHARD_CACHE, str(8 * (whole / "train-00000.npy").stat().st_size))
    order = ("shuffle.lanes=2", "shuffle.window=2")
    local = Group(workplace / "local", whole, root / "local", "2:2", *order).finish()
    assert not any(
        request.startswith("GET") and ".npy" in request and "/datasets/" in request for request in proxy.requests
    )
    group = Group(workplace / "streamed", published, root / "streamed", "2:2", *order)
    group.after(s3, 240, lambda: group.worker(1).kill())
    streamed = group.finish()
    assert "(exitcode: -9)" in group.log(1)
    assert all(list((workplace / f"streamed/node-{node}").rglob("cache/shards/*.npy")) for node in (0, 1))
    assert (streamed / "generator.safetensors").read_bytes() == (local / "generator.safetensors").read_bytes()


def test_the_other_node_completes_the_training_of_a_lost_node(
    workplace: Path, dataset: Path, proxy: FaultyProxy, s3: S3Server, root: Address
) -> None:
    group = Group(workplace / "elastic", dataset, root / "elastic", "1:2")

    def lose() -> None:
        worker = group.worker(1)
        group.nodes[1].kill()  # torchrun first: it would restart the worker
        worker.kill()

    group.after(s3, 240, lose)
    model = group.finish()
    assert json.loads((model / "training.json").read_text())["processes"] == 1
    alone = Group(workplace / "undisturbed", dataset, root / "undisturbed", "2:2").finish()
    assert distance(model, alone) < ROUNDING
    for mine, theirs in zip(history(model), history(alone), strict=True):
        assert mine["reconstruction"] == pytest.approx(theirs["reconstruction"], rel=0.01)
