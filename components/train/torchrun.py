"""Processes that train together, started by torchrun, and how they end: as one process would have."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from model.config import TrainConfig
from model.utils.errors import Interrupted, UserError

Arguments = dict[str, Any]
"""Those of `components.train.step.train`, by name, as JSON has them."""


def arguments(
    dataset: str, output: str, checkpoints: str, config: TrainConfig, code_version: str, variant: str = ""
) -> Arguments:
    return {
        "dataset": dataset,
        "output": output,
        "checkpoints": checkpoints,
        "config": config.model_dump(mode="json"),
        "code_version": code_version,
        "variant": variant,
    }


def together(work: Arguments, *options: str) -> None:
    """Runs `components.train.worker` under torchrun, which this process becomes.

    SIGTERM is handed on to all; each has 30 s to save and end.

    Args:
        work: what each process is told.
        options: torchrun's, without the program.

    Raises:
        UserError: a process ended with one.
        Interrupted: SIGTERM came, to this process or to one of those.
        ChildFailedError: a process ended otherwise; torchrun's, which names it.
    """
    # One store for all rounds, torchrun's default, tells processes that are started again the addresses of those before
    # them, for which they wait half an hour: pytorch/pytorch#135712.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    with TemporaryDirectory() as logs:
        command = [*options, f"--log-dir={logs}", "--module", "components.train.worker", json.dumps(work)]
        try:
            torchrun.run(torchrun.parse_args(command))  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            raise _ending(Path(logs)) or error from None
        except SignalException:
            raise _ending(Path(logs)) or Interrupted("SIGTERM came before the first step; start again") from None


def _ending(logs: Path) -> UserError | Interrupted | None:
    """What the processes have recorded, when they were started last, of how they ended: a mistake rather than SIGTERM,
    of which the others died."""
    attempts = sorted(logs.glob("*/attempt_*"), key=lambda folder: int(folder.name.rpartition("_")[2]))
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(attempts[-1].glob("*/error.json"))]
    said = [record["message"]["message"].split(": ", 1) for record in records]
    for kind, sentence in said:
        if kind != Interrupted.__name__:
            return UserError(sentence)
    return Interrupted(said[0][1]) if said else None
