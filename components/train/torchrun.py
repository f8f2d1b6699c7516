"""Training in processes of torchrun, which end as one process would, and are started again when one is killed."""

import json
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from components.train.environment import ENDED, SUPERVISOR
from model.config import TrainConfig
from model.utils.cores import share_threads
from model.utils.errors import Interrupted, UserError
from model.utils.signals import handled

Arguments = dict[str, Any]
"""Arguments of `components.train.step.train` by name, of JSON's types."""

_ADVICE = {"SIGKILL": "give it more memory", "SIGBUS": "give it more shared memory"}


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


def run_workers(work: Arguments, processes: int, retries: int) -> None:
    """Runs `components.train.worker` under torchrun, in this process, until all workers end.

    When a signal ends a worker (SIGKILL: out of memory), all are started again and resume from the last checkpoint. An
    exception would come again and is not retried. torchrun passes SIGTERM on to all workers; each has 30 s to save and
    end. The workers end with this process.

    Args:
        work: arguments of each worker.
        processes: number of workers.
        retries: number of times that they are started again.

    Raises:
        UserError: a worker ended with one; a signal ended the last attempt.
        Interrupted: SIGTERM came, to this process or to a worker.
        ChildFailedError: a worker ended with another exception, whose traceback it has printed.
    """
    # With torchrun's default, one store for all rounds, restarted processes read the addresses of the processes before
    # them and wait half an hour for these: pytorch/pytorch#135712.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    os.environ[SUPERVISOR] = str(os.getpid())
    share_threads(processes)
    attempts, ended = retries + 1, list[str]()
    while (killer := _attempt(work, processes)) and len(ended) < retries:
        ended.append(f"{killer} ended attempt {len(ended) + 1} of {attempts}")
        print(f"train: {ended[-1]}; the next one begins", file=sys.stderr, flush=True)
        os.environ[ENDED] = "; ".join(ended)
    if killer:
        advice = _ADVICE.get(killer, "see its last lines above")
        raise UserError(
            f"{killer} ended attempt {attempts} of {attempts} at the training; {advice}, and run the same command "
            "again to resume."
        )


def _attempt(work: Arguments, processes: int) -> str:
    """Runs the workers once; returns the signal that ended one of them, or nothing."""
    with TemporaryDirectory() as logs, handled({signal.SIGTERM: _stop}):  # torchrun restores no handler
        options = ["--standalone", f"--nproc-per-node={processes}", "--signals-to-handle=SIGTERM", f"--log-dir={logs}"]
        command = [*options, "--module", "components.train.worker", json.dumps(work)]
        try:
            torchrun.run(torchrun.parse_args(command))  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            recorded = _recorded_error(Path(logs))
            killers = {failure.signal_name() for failure in error.failures.values() if failure.exitcode < 0}
            killers.discard("SIGTERM")  # by which torchrun ends the other workers
            if isinstance(recorded, UserError) or not killers:
                raise recorded or error from None
            return min(killers)
        except SignalException:
            raise _recorded_error(Path(logs)) or Interrupted(
                "SIGTERM came before the first step; run the same command again"
            ) from None
    return ""


def _stop(number: int, _: object) -> None:
    raise SignalException("stopped", signal.Signals(number))


def _recorded_error(logs: Path) -> UserError | Interrupted | None:
    """Returns the error that the workers recorded: a mistake rather than SIGTERM, which ended the other workers."""
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(logs.glob("*/attempt_0/*/error.json"))]
    errors = [record["message"]["message"].split(": ", 1) for record in records]
    for kind, sentence in errors:
        if kind != Interrupted.__name__:
            return UserError(sentence)
    return Interrupted(errors[0][1]) if errors else None
