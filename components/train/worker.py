"""Worker of a training in several processes; torchrun starts `python -m components.train.worker ARGUMENTS`."""

import json
import os
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from components.shared.machine.code import require_submitted
from components.shared.machine.workspace import workspace
from components.shared.s3.client import Address, is_s3
from components.shared.s3.folders import upload_folder
from components.shared.step import RETRY_ME, disk_error
from components.train.environment import SUPERVISOR
from components.train.step import train
from components.train.torchrun import Arguments
from model.config import TrainConfig
from model.utils.errors import Interrupted, UserError
from model.utils.settings import check
from model.utils.signals import end_with

_TERMINATION_LOG = Path("/dev/termination-log")  # Kubernetes shows its text as the message of the container's end


def run(work: Arguments) -> None:
    """Trains as one of the processes; the main process uploads an output in S3.

    Raises:
        UserError, Interrupted: as in `components.train.step.train`; S3 refuses the output; this node's image holds
            other code than the run was submitted with.
    """
    require_submitted({"train": work["code_version"]})
    output = workspace() / "model" if is_s3(work["output"]) else Path(work["output"])
    train(
        work["dataset"],
        output,
        work["checkpoints"],
        check(TrainConfig, work["config"], "train"),
        work["code_version"],
        work["variant"],
    )
    if is_s3(work["output"]) and os.environ["RANK"] == "0":
        upload_folder(output, Address.parse(work["output"]))


def _tell_kubernetes(message: str) -> None:
    if _TERMINATION_LOG.exists():
        _TERMINATION_LOG.write_text(message, encoding="utf-8")


if __name__ == "__main__":
    end_with(int(os.environ.get(SUPERVISOR, os.getppid())))
    try:
        _tell_kubernetes("")  # torchrun restarts the workers, and an earlier message may no longer hold
        run(json.loads(sys.argv[1]))
    except Exception as error:
        known = error if isinstance(error, UserError | Interrupted) else disk_error(error)
        if not known:
            raise
        get_error_handler().record_exception(known)  # `run_workers` reads it and raises it once
        if isinstance(known, UserError):
            _tell_kubernetes(str(known))
        sys.exit(RETRY_ME if isinstance(known, Interrupted) else 1)
