"""Training on several nodes: the step makes a TrainJob, follows it to its end, and fetches the model.

The step's own pod needs no GPU. Dataset and model go through S3, below the checkpoints, which every node reaches.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from components.shared.machine.pipeline_run import RUN_ID
from components.shared.machine.workspace import SHARD_CACHE
from components.shared.s3.client import Address, is_s3
from components.shared.s3.folders import delete_folder, download_folder
from components.shared.s3.streaming.cache import size_limit
from components.shared.s3.streaming.published import local_folder, published_address, upload_dataset
from components.train.torchrun import Arguments
from components.train.trainjob.job import Job
from components.train.trainjob.manifest import fill
from model.utils.errors import UserError
from model.utils.signals import stoppable


def train_on_nodes(template: str, work: Arguments) -> None:
    """Runs `components.train.step.train` on the nodes of a TrainJob; adopts the job of an earlier attempt.

    Args:
        template: JSON of `manifest.template`.
        work: arguments of `components.train.step.train`; `checkpoints` in S3.

    Raises:
        UserError: as in `step.train`; the cluster refuses the job; the job fails.
        Interrupted: SIGTERM came; the job is deleted, and its processes save their state.
    """
    manifest: dict[str, Any] = json.loads(template)
    nodes = _nodes(manifest["spec"]["trainer"], work["config"]["batch_size"])
    if not is_s3(work["checkpoints"]):
        raise UserError(f"checkpoints is {work['checkpoints']}; several nodes (gpu.nodes) need s3://bucket/prefix.")
    folder = local_folder(work["dataset"])
    content, settings = (folder / "dataset.json").read_text(encoding="utf-8"), work | {"dataset": "", "output": ""}
    identity = json.dumps([os.environ.get(RUN_ID, ""), manifest, settings, content], sort_keys=True)
    name = f"colorizer-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    handover, published = Address.parse(work["checkpoints"]) / name, published_address(folder)
    environment = {key: os.environ[key] for key in (RUN_ID, "MLFLOW_RUN_ID", SHARD_CACHE) if os.environ.get(key)}
    if not published:
        environment[SHARD_CACHE] = str(max(size_limit(), _size(folder)))  # each node has room for the whole set
    settings |= {"dataset": str(published or handover / "dataset"), "output": str(handover / "model")}
    fill(manifest, name, nodes, settings, environment)
    job = Job(os.environ["POD_NAMESPACE"], name)
    with stoppable(f"TrainJob {name} is deleted, and its processes save; run the same command again to resume"):
        try:
            job.start(manifest, prepare=lambda: None if published else upload_dataset(folder, handover / "dataset"))
            job.follow()
            download_folder(handover / "model", Path(work["output"]), marker="generator.json")
            delete_folder(handover)
        finally:
            job.delete()


def _nodes(trainer: dict[str, Any], batch_size: int) -> str:
    """Returns the least and the most nodes: the job goes on with fewer while any smaller number can share a batch."""
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


def _size(folder: Path) -> int:
    """Returns an upper bound of the bytes of a dataset's shards."""
    shards = [path.stat().st_size for path in folder.glob("*.npy")]
    return len(shards) * max(shards, default=0)
