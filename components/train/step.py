"""The train step: trains a generator on shards and hands it over with its curves and sample grids."""

import csv
import hashlib
import json
import os
import re
import shutil
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch

from components.shared.machine.workspace import workspace
from components.shared.mlflow import registry, runs
from components.shared.s3.client import Address, is_s3
from components.shared.s3.streaming.cache import check_cache_size
from components.shared.s3.streaming.published import local_folder, open_shards, verify_dataset
from components.train.mlflow_queue import MlflowQueue
from components.train.remote import RemoteCheckpoints
from components.train.report import SAMPLES, MlflowReporter, draw_curves
from model.config import TrainConfig
from model.data.kinds import SOURCES
from model.data.shards import Shards
from model.inference.saved import save_generator
from model.networks.generator import Generator
from model.training import loop
from model.training.calibration import calibrate
from model.training.checkpoint import newest_checkpoint
from model.training.loop import Trained
from model.training.meters import HISTORY, Row
from model.training.reporter import Reporter
from model.training.start import new_generator, trained_generator
from model.utils.errors import UserError
from model.utils.files import folder_aside, write_aside

_FINISHED = "finished-training"  # marks the checkpoint folder of a finished training
_RUN_ID = "mlflow_run_id"


@dataclass(frozen=True)
class _Job:
    """Holds what a training needs, and where its checkpoints lie."""

    dataset: Path
    shards: Shards
    validation: Shards
    config: TrainConfig
    identity: dict[str, str]
    generator: Generator
    folder: Path

    @property
    def held_out(self) -> Shards:
        """Photographs for the sample grids: those for validation, or for training where there are none."""
        return self.validation if len(self.validation) else self.shards


def train(
    dataset: Path | str,
    output: Path,
    checkpoints: Path | str,
    config: TrainConfig,
    code_version: str = "",
    variant: str = "",
) -> int:
    """Trains, or resumes an earlier attempt at the same training.

    Attempts are at the same training when configuration, dataset and code are the same: their checkpoints lie in a
    folder of `checkpoints` named by a hash of these. The folder of a finished training stays, in case its output is
    lost on the way to its destination; the next training removes it. Under torchrun every process calls this; the main
    process logs and writes.

    Args:
        dataset: folder that preprocess wrote, or s3://bucket/prefix of a published dataset.
        output: folder; gets, all at once at the end, what `_hand_over` writes.
        checkpoints: a folder that outlives a lost attempt, or s3://bucket/prefix, which outlives its node: the folder
            is then in the workspace, and S3 has a copy.
        config: section `train`.
        code_version: hash of the code behind this step.
        variant: name of the variant.

    Returns:
        Images seen, repeats counted.

    Raises:
        UserError: see `model.training.loop.train`; there is nothing to calibrate on; MLflow or S3 cannot be used at the
            beginning, or MLflow at the end.
        Damaged: a file of the dataset is not as it was written.
        Interrupted: SIGTERM came; the state is saved.
    """
    job = _prepare(dataset, checkpoints, config, code_version)
    if not _is_main():
        return _train(job).images

    _remove_finished(job.folder)
    mirror: AbstractContextManager[RemoteCheckpoints | None] = (
        RemoteCheckpoints(Address.parse(str(checkpoints)), job.folder) if is_s3(checkpoints) else nullcontext()
    )
    with (
        mirror as remote,  # first: it may bring the folder's content
        folder_aside(output, marker="generator.json") as aside,
        runs.start_run(f"train {variant}".rstrip(), _restore_files(job.folder), system_metrics=True) as run,
        MlflowQueue() as queue,
        ExitStack() as stack,
    ):
        write_aside(job.folder / _RUN_ID, run.id.encode())
        run.log_params({"train": job.config.model_dump(mode="json")})
        run.log_dataset("photographs", job.shards.data_version, "training")
        reporter = MlflowReporter(job.folder, job.held_out, job.config, run, queue, stack, remote)
        trained = _train(job, reporter)
        _hand_over(aside, job, trained, run.id)
        for name in ("curves.png", HISTORY):
            queue.write(partial(run.log_artifact, aside / name))
    (job.folder / _RUN_ID).unlink()
    (job.folder / _FINISHED).touch()
    return trained.images


def _train(job: _Job, reporter: Reporter | None = None) -> Trained:
    return loop.train(job.config, job.shards, job.folder, job.identity, generator=job.generator, reporter=reporter)


def _is_main() -> bool:
    return not int(os.environ.get("RANK", "0"))


def _prepare(dataset: Path | str, checkpoints: Path | str, config: TrainConfig, code_version: str) -> _Job:
    """Opens the dataset and the generator to begin with, and names the training."""
    dataset = local_folder(dataset)
    if _is_main():
        verify_dataset(dataset)
    shards, validation = open_shards(dataset, "train"), open_shards(dataset, "val")
    check_cache_size(shards, config)
    if config.calibrate and not len(validation):
        raise UserError("train.calibrate needs validation photographs; raise preprocess.val_percent, or switch it off.")
    if config.init.startswith("models:"):  # an alias may mean another version tomorrow
        config = config.model_copy(update={"init": registry.resolve(config.init, "train.init").uri})
    begin_with, checksum = _begin_with(config.init) if config.init else (None, "")
    identity = {
        "data_version": shards.data_version,
        "dataset": hashlib.sha256((dataset / "dataset.json").read_bytes()).hexdigest(),
        "code_version": code_version,
        "init": checksum,
    }
    whole = json.dumps({"config": config.model_dump(mode="json"), **identity}, sort_keys=True)
    root = workspace() / "checkpoints" if is_s3(checkpoints) else Path(checkpoints)
    folder = root / hashlib.sha256(whole.encode()).hexdigest()[:16]
    generator = (
        trained_generator(config, begin_with)
        if begin_with
        else new_generator(config, workspace() / "cache" / "weights")
    )
    return _Job(dataset, shards, validation, config, identity, generator, folder)


def _begin_with(init: str) -> tuple[Path, str]:
    """Returns the generator folder or the checkpoint that `init` names, and its SHA-256."""
    if Path(init).is_file():
        return Path(init), hashlib.sha256(Path(init).read_bytes()).hexdigest()
    folder = registry.fetch(init)
    return folder, registry.checksum(folder) or ""


def _remove_finished(folder: Path) -> None:
    """Removes the folders of finished trainings beside this one."""
    for finished in folder.parent.glob(f"{'[0-9a-f]' * 16}/{_FINISHED}"):
        if finished.parent != folder:
            shutil.rmtree(finished.parent)


def _restore_files(folder: Path) -> str | None:
    """Writes the sample grids and the run's id out of the newest checkpoint; returns the id of the run to resume."""
    (folder / SAMPLES).mkdir(parents=True, exist_ok=True)
    path = folder / _RUN_ID
    if not (folder / _FINISHED).exists() and (checkpoint := newest_checkpoint(folder)):
        for name, content in checkpoint.files.items():
            if re.fullmatch(rf"{_RUN_ID}|{SAMPLES}/samples-\d+\.png", name):
                write_aside(folder / name, content)
    return path.read_text(encoding="utf-8") if path.exists() else None


def _hand_over(output: Path, job: _Job, trained: Trained, run_id: str) -> None:
    """Writes the step's output.

    It holds generator.safetensors and generator.json, history.jsonl, the same as a table in history.csv, curves.png,
    samples/, training.json, and the dataset's manifest.parquet and SOURCES.csv.
    """
    calibration = calibrate(trained.generator, job.validation) if job.config.calibrate else None
    snapshot = trained.snapshot
    taken_at = snapshot.images if snapshot else trained.images
    save_generator(output, trained.generator, crop=job.config.crop, size=job.shards.size, images=taken_at)
    shutil.copy(job.folder / HISTORY, output)
    shutil.copytree(job.folder / SAMPLES, output / SAMPLES)
    for name in ("manifest.parquet", SOURCES):
        if (job.dataset / name).is_file():
            shutil.copy(job.dataset / name, output)
    history = [json.loads(row) for row in (output / HISTORY).read_text(encoding="utf-8").splitlines()]
    draw_curves(history, output / "curves.png")
    _write_table(history, output / "history.csv")
    facts = {
        "images": trained.images,
        **({"snapshot": snapshot.images, f"val_{job.config.select}": snapshot.score} if snapshot else {}),
        "seconds": round(_seconds(history), 1),
        "chroma_slope": round(trained.generator.chroma_slope, 3),
        **({"calibration": calibration.to_json()} if calibration else {}),
        "device": _device_name(trained.generator),
        "processes": trained.count,
        "torch": torch.__version__,
        "data_version": job.shards.data_version,
        "code_version": job.identity["code_version"],
        "mlflow_run_id": run_id,
    }
    (output / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _seconds(rows: list[Row]) -> float:
    """Returns the time of all training steps, those of earlier attempts included."""
    images = [0, *(int(row["images"]) for row in rows)]
    speeds = (float(row["images_per_second"]) for row in rows)
    return sum((now - before) / speed for (before, now), speed in zip(pairwise(images), speeds, strict=True))


def _write_table(rows: list[Row], path: Path) -> None:
    """Writes the history as a table, which `dvc plots` reads."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)


def _device_name(generator: Generator) -> str:
    device = next(generator.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
