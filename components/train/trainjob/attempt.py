"""Training on several nodes: a TrainJob of Kubeflow Trainer, made, followed and removed by the step.

The step's own pod needs no GPU. It hands the dataset over, makes the job or adopts what an earlier attempt of the same
pipeline run has left, copies the first node's log, and fetches the model. What it knows only as it runs is filled into
the TrainJob that pipeline/cluster/trainjob.py has prepared.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from components.shared.machine.workspace import SHARD_CACHE
from components.shared.mlflow.tree import RUN_ID
from components.shared.s3.client import Address, is_s3
from components.shared.s3.streaming.published import local_folder
from components.train.environment import POD
from components.train.torchrun import arguments
from components.train.trainjob import handover
from components.train.trainjob.job import Job
from model.config import TrainConfig
from model.utils.errors import UserError
from model.utils.signals import stoppable

_RESTARTS = 3
"""How often torchrun starts the processes of a node anew before the pod fails, and Kubernetes starts that anew."""

_PASSED_ON = (RUN_ID, "MLFLOW_RUN_ID", SHARD_CACHE)


def train_on_nodes(
    template: str,
    dataset: Path | str,
    output: Path,
    checkpoints: str,
    config: TrainConfig,
    code_version: str,
    variant: str = "",
) -> None:
    """`components.train.step.train` on the nodes of a TrainJob.

    Args:
        template: the TrainJob without name, owner and arguments, as JSON.
        dataset: as there.
        output: as there.
        checkpoints: s3://bucket/prefix. Below it, dataset and model are handed over.
        config: as there.
        code_version: as there.
        variant: as there.

    Raises:
        UserError: as there; or the cluster refuses the job, or the job fails.
        Interrupted: SIGTERM came; the job is deleted, whose processes save their state.
    """
    if not is_s3(checkpoints):
        raise UserError(f"checkpoints is {checkpoints}; several nodes (gpu.nodes) need s3://bucket/prefix.")
    manifest: dict[str, Any] = json.loads(template)
    nodes = _nodes(manifest["spec"]["trainer"], config.batch_size)
    folder = local_folder(dataset)  # of published shards, their index: the nodes stream them from where they are
    content = (folder / "dataset.json").read_bytes()
    work = arguments("", "", checkpoints, config, code_version, variant)
    whole = json.dumps([os.environ.get(RUN_ID, ""), manifest, work], sort_keys=True).encode() + content
    name = f"colorizer-{hashlib.sha256(whole).hexdigest()[:16]}"
    place = Address.parse(checkpoints) / name
    work |= {"dataset": str(place / "dataset"), "output": str(place / "model")}
    _fill(manifest, name, work | {"nodes": nodes, "restarts": _RESTARTS, "rendezvous": name})
    job = Job(os.environ["POD_NAMESPACE"], name)
    with stoppable(f"TrainJob {name} is deleted, and its processes save what they have; start again to go on"):
        try:
            job.start(manifest, prepare=lambda: handover.put(folder, place / "dataset"))
            job.follow()
            handover.get(place / "model", output, marker="generator.json")
            handover.remove(place)
        finally:
            job.delete()


def _nodes(trainer: dict[str, Any], batch_size: int) -> str:
    """The least and the most nodes, as torchrun takes them: the job goes on with fewer as long as they can share a
    batch."""
    most, processes = trainer["numNodes"], trainer["numProcPerNode"]
    if batch_size % (most * processes):
        raise UserError(
            f"train.batch_size is {batch_size}; it must be a multiple of the {most * processes} processes "
            "(gpu.nodes times gpu.count)."
        )
    least = most
    while least > 1 and batch_size % ((least - 1) * processes) == 0:
        least -= 1
    return f"{least}:{most}"


def _fill(manifest: dict[str, Any], name: str, work: dict[str, Any]) -> None:
    """Puts in what only the step knows."""
    pod, uid, _, account = (os.environ[variable] for variable in POD)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}  # the job goes when that goes
    manifest["metadata"] |= {"name": name, "ownerReferences": [owner]}
    trainer = manifest["spec"]["trainer"]
    trainer["args"] = [json.dumps(work).replace("$", "$$")]  # $(NAME) would be expanded
    trainer["env"] += [{"name": key, "value": os.environ[key]} for key in _PASSED_ON if os.environ.get(key)]
    (patch,) = manifest["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    job["template"]["spec"]["template"]["spec"]["serviceAccountName"] = account
