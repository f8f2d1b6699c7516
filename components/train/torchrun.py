"""Training in several processes, started by torchrun, which ends as one process would."""

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
"""Arguments of `components.train.step.train` by name, of JSON's types."""


def arguments(
    dataset: str, output: str, checkpoints: str, config: TrainConfig, code_version: str, variant: str = ""
) -> Arguments:
    """Returns the arguments of `components.train.step.train` by name, of JSON's types."""
    return {
        "dataset": dataset,
        "output": output,
        "checkpoints": checkpoints,
        "config": config.model_dump(mode="json"),
        "code_version": code_version,
        "variant": variant,
    }


def run_workers(work: Arguments, *options: str) -> None:
    """Runs `components.train.worker` under torchrun, in this process, until all workers end.

    torchrun passes SIGTERM on to all workers; each has 30 s to save and end.

    Args:
        work: arguments of each worker.
        options: of torchrun, without the program.

    Raises:
        UserError: a worker ended with one.
        Interrupted: SIGTERM came, to this process or to a worker.
        ChildFailedError: a worker ended otherwise; torchrun names it.
    """
    # With torchrun's default, one store for all rounds, restarted processes read the addresses of the processes before
    # them and wait half an hour for these: pytorch/pytorch#135712.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    with TemporaryDirectory() as logs:
        command = [*options, f"--log-dir={logs}", "--module", "components.train.worker", json.dumps(work)]
        try:
            torchrun.run(torchrun.parse_args(command))  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            raise _recorded_error(Path(logs)) or error from None
        except SignalException:
            raise _recorded_error(Path(logs)) or Interrupted(
                "SIGTERM came before the first step; run the same command again"
            ) from None


def _recorded_error(logs: Path) -> UserError | Interrupted | None:
    """Returns the error that the workers of the last round recorded: a mistake rather than SIGTERM, which ended the
    other workers."""
    attempts = sorted(logs.glob("*/attempt_*"), key=lambda folder: int(folder.name.rpartition("_")[2]))
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(attempts[-1].glob("*/error.json"))]
    errors = [record["message"]["message"].split(": ", 1) for record in records]
    for kind, sentence in errors:
        if kind != Interrupted.__name__:
            return UserError(sentence)
    return Interrupted(errors[0][1]) if errors else None
