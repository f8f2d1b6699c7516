"""One of the processes that train together: `python -m components.train.worker ARGUMENTS`; torchrun starts it."""

import json
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from components.shared.step import RETRY_ME
from components.train.step import train
from model.config import TrainConfig, check
from model.utils.errors import Interrupted, UserError

if __name__ == "__main__":
    work = json.loads(sys.argv[1])
    try:
        train(
            Path(work["dataset"]),
            Path(work["output"]),
            work["checkpoints"],
            check(TrainConfig, work["config"], "train"),
            work["code_version"],
            work["variant"],
        )
    except (UserError, Interrupted) as error:
        get_error_handler().record_exception(error)  # `together` reads it, and says it once
        sys.exit(RETRY_ME if isinstance(error, Interrupted) else 1)
