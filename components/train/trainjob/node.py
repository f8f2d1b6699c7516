"""What a TrainJob runs on each of its nodes: `python -m components.train.trainjob.node WORK`.

WORK is JSON: the arguments of `components.train.step.train`, dataset and output of which lie in S3; and `nodes`,
`restarts`, `rendezvous`, as torchrun takes them. Kubeflow Trainer says by PET_... which node this is.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from components.shared.machine.workspace import workspace
from components.shared.s3.client import Address
from components.shared.step import step
from components.train.torchrun import Arguments, together
from components.train.trainjob import handover
from model.utils.errors import UserError

_LAST_WORDS = Path("/dev/termination-log")
"""What stands there, Kubernetes shows as the message of the pod's end: the step tells it to the user."""


def train(work: Arguments) -> None:
    """This node's share of the training.

    Raises:
        UserError, Interrupted: as `together`; or S3 cannot be used.
    """
    nodes, restarts, rendezvous = (work.pop(name) for name in ("nodes", "restarts", "rendezvous"))
    remote = Address.parse(work["output"])
    output = workspace() / "model"
    shutil.rmtree(output, ignore_errors=True)  # of this container before it was started again
    together(
        work | {"dataset": str(dataset(Address.parse(work["dataset"]))), "output": str(output)},
        f"--nnodes={nodes}",
        f"--max-restarts={restarts}",
        "--rdzv-backend=c10d",
        f"--rdzv-id={rendezvous}",
        f"--rdzv-endpoint={os.environ['PET_MASTER_ADDR']}:{os.environ['PET_MASTER_PORT']}",
    )
    if output.exists():  # only where the first process was
        handover.put(output, remote)


def dataset(address: Address) -> Path:
    """The folder of the dataset on this node, fetched unless it is there."""
    folder = workspace() / "dataset"
    if not folder.exists():
        handover.get(address, folder, "dataset.json")
    return folder


if __name__ == "__main__":
    with step("train"):
        try:
            train(json.loads(sys.argv[1]))
        except UserError as error:
            if _LAST_WORDS.exists():
                _LAST_WORDS.write_text(str(error), encoding="utf-8")
            raise
