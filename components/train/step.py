"""The train step: shards to a generator, with its curves and sample grids, logged to MLflow."""

import csv
import hashlib
import json
import os
import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch

from components.shared.machine.progress import progress
from components.shared.machine.workspace import workspace
from components.shared.mlflow import registry, runs
from components.shared.s3.client import Address, is_s3
from components.shared.s3.streaming.cache import check_cache_size
from components.shared.s3.streaming.published import local_folder, open_shards, verify_dataset
from components.train.mlflow_queue import Diary
from components.train.remote import RemoteCheckpoints
from components.train.report import draw_curves, sample_grid
from model.config import TrainConfig
from model.data.format import SOURCES
from model.inference.saved import save_generator
from model.networks.generator import Generator
from model.training import loop as training
from model.training.calibration import calibrate
from model.training.meters import HISTORY, Row
from model.training.start import new_generator, trained_generator
from model.utils.errors import UserError
from model.utils.files import folder_aside

_SAMPLED = 8  # photographs in a grid: for validation, or for training where there are none
_FINISHED = "finished-training"  # marks a checkpoint folder whose training has come to its end


def train(
    dataset: Path | str,
    output: Path,
    checkpoints: Path | str,
    config: TrainConfig,
    code_version: str = "",
    variant: str = "",
) -> int:
    """Trains, or goes on where an earlier attempt at the same training stopped.

    An attempt is the same when configuration, dataset and code are: its checkpoints lie in a folder of `checkpoints`
    named by a hash of these. Once a training is finished, its folder stays, in case its output gets lost on the way
    to where it belongs; the next training removes it.

    Under torchrun every process calls this; the first logs and writes.

    Args:
        dataset: what preprocess wrote; or s3://bucket/prefix, where a dataset was published.
        output: gets generator.safetensors, generator.json, history.jsonl and history.csv, curves.png, samples/,
            training.json, and the dataset's manifest.parquet and SOURCES.csv, all at once at the end.
        checkpoints: a folder that outlives a lost attempt; or s3://bucket/prefix, which outlives its node: the folder
            is then one in the workspace, and S3 has a copy. MLflow's run is remembered there too.
        config: section `train`.
        code_version: a hash of the code behind this step.
        variant: its name in a sweep.

    Returns:
        Photographs seen, each repeat counted.

    Raises:
        UserError: see `model.training.loop.train`; there is nothing to calibrate on; MLflow or S3 cannot be used at the
            beginning, or MLflow at the end; another attempt has taken over in S3.
        Damaged: a file of the dataset is not as it was written.
        Interrupted: SIGTERM came; the state is saved.
    """
    dataset = local_folder(dataset)
    first = not int(os.environ.get("RANK", "0"))
    if first:
        verify_dataset(dataset)
    shards, validation = open_shards(dataset, "train"), open_shards(dataset, "val")
    check_cache_size(shards, config)
    if config.calibrate and not len(validation):
        raise UserError("train.calibrate needs validation photographs; raise preprocess.val_percent, or switch it off.")
    config, begin_with = _start(config)
    identity = {
        "data_version": shards.data_version,
        "dataset": hashlib.sha256((dataset / "dataset.json").read_bytes()).hexdigest(),
        "code_version": code_version,
        "init": (registry.checksum(begin_with) or "") if begin_with else "",
    }
    local = workspace() / "checkpoints" if is_s3(checkpoints) else Path(checkpoints)
    folder = local / _fingerprint(config, identity)
    generator = (
        trained_generator(config, begin_with)
        if begin_with
        else new_generator(config, workspace() / "cache" / "weights")
    )
    if not first:
        return training.train(config, shards, folder, identity, generator=generator).images

    started = time.monotonic()
    for finished in local.glob(f"{'[0-9a-f]' * 16}/{_FINISHED}"):
        if finished.parent != folder:
            shutil.rmtree(finished.parent)
    held_out = validation if len(validation) else shards
    photographs = torch.from_numpy(held_out[:_SAMPLED])
    labels = torch.from_numpy(held_out.label_indices(config.generator.labels)[:_SAMPLED])
    remembered = folder / "mlflow_run_id"
    mirror: AbstractContextManager[RemoteCheckpoints | None] = (
        RemoteCheckpoints(Address.parse(str(checkpoints)), folder) if is_s3(checkpoints) else nullcontext()
    )
    with (
        mirror as remote,  # before anything looks into the folder
        folder_aside(output, marker="generator.json") as aside,
        runs.start_run(f"train {variant}".rstrip(), _read(remembered), system_metrics=True) as run,
        Diary() as diary,
        progress(config.images, "train", unit="images") as advance,
    ):
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        remembered.write_text(run.id, encoding="utf-8")
        run.log_params({"train": config.model_dump(mode="json")})
        run.log_dataset("photographs", shards.data_version, "training")
        seen = 0

        def on_step(images: int) -> None:
            nonlocal seen
            if remote:
                remote.check()
            advance(images - seen)
            seen = images

        def on_log(row: Row) -> None:
            numbers = {name: value for name, value in row.items() if isinstance(value, float)}
            diary.write(partial(run.log_metrics, numbers, int(row["images"]), time.time()))

        def on_sample(images: int, generator: Generator) -> None:
            path = folder / "samples" / f"samples-{images:09d}.png"
            sample_grid(generator, photographs, labels).save(path)
            diary.write(partial(run.log_artifact, path, "samples"))

        trained = training.train(
            config,
            shards,
            folder,
            identity,
            generator=generator,
            on_step=on_step,
            on_log=on_log,
            on_sample=on_sample,
            on_checkpoint=remote.save if remote else None,
            on_alarm=lambda line: diary.write(partial(run.set_tags, {"health_alarm": line})),
        )
        slope = calibrate(trained.generator, validation) if config.calibrate else 0.0
        snapshot = trained.snapshot
        taken_at = snapshot.images if snapshot else trained.images
        save_generator(aside, trained.generator, crop=config.crop, size=shards.size, images=taken_at)
        shutil.copy(folder / HISTORY, aside)
        shutil.copytree(folder / "samples", aside / "samples")
        for name in ("manifest.parquet", SOURCES):
            if (dataset / name).is_file():
                shutil.copy(dataset / name, aside)
        history = [json.loads(row) for row in (aside / HISTORY).read_text(encoding="utf-8").splitlines()]
        draw_curves(history, aside / "curves.png")
        _write_table(history, aside / "history.csv")
        facts = {
            "images": trained.images,
            **({"snapshot": snapshot.images, f"val_{config.select}": snapshot.score} if snapshot else {}),
            "seconds": round(time.monotonic() - started, 1),  # of the last attempt
            "chroma_slope": round(slope, 3),
            "device": _device_name(trained.generator),
            "processes": trained.count,
            "torch": torch.__version__,
            "data_version": shards.data_version,
            "code_version": code_version,
            "mlflow_run_id": run.id,
        }
        (aside / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        for name in ("curves.png", HISTORY):
            diary.write(partial(run.log_artifact, aside / name))
    remembered.unlink()
    (folder / _FINISHED).touch()
    return trained.images


def _start(config: TrainConfig) -> tuple[TrainConfig, Path | None]:
    """The configuration with the version that `init` means now in place of an alias, and the folder of that version."""
    if not config.init:
        return config, None
    if config.init.startswith("models:"):
        config = config.model_copy(update={"init": registry.resolve(config.init).uri})
    return config, registry.fetch(config.init)


def _fingerprint(config: TrainConfig, identity: dict[str, str]) -> str:
    whole = json.dumps({"config": config.model_dump(mode="json"), **identity}, sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _write_table(rows: list[Row], path: Path) -> None:
    """The history once more, as a table: what `dvc plots` reads."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)


def _device_name(generator: Generator) -> str:
    device = next(generator.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
