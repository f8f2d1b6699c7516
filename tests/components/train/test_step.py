"""Tests of the train step: output, MLflow run, command line, initial weights, and resuming."""

import csv
import hashlib
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from components.shared.mlflow import connection, registry
from components.train.report import curves_page, draw_curves, sample_grid
from components.train.step import train
from model.color import decode_lab, lab_to_srgb, to_uint8
from model.data.shards import Shards
from model.inference.saved import load_generator
from model.networks.generator import Generator
from model.training.checkpoint import read_checkpoint
from model.training.meters import below
from model.utils.errors import Damaged, UserError
from tests.support.command import COLORIZE, environment
from tests.support.tiny import tiny_config, tiny_dataset, tiny_overrides

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_output_holds_generator_history_curves_and_samples(workplace: Path, dataset: Path) -> None:
    assert train(dataset, Path("out/model"), Path("checkpoints"), tiny_config(), "c0de") == 64
    model = workplace / "out" / "model"
    assert sorted(str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()) == [
        "curves.png",
        "generator.json",
        "generator.safetensors",
        "history.csv",
        "history.jsonl",
        "manifest.parquet",
        "samples/samples-000000032.png",
        "samples/samples-000000064.png",
        "training.json",
    ]
    assert [path.name for path in model.parent.iterdir()] == ["model"]
    generator, info = load_generator(model)
    assert generator.config == tiny_config().generator
    assert (info.crop, info.size, info.images) == (16, 24, 64)
    facts = json.loads((model / "training.json").read_text())
    assert (facts["images"], facts["code_version"], facts["processes"]) == (64, "c0de", 1)
    assert facts["data_version"] == Shards.open(dataset, "train").data_version
    with (model / "history.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    rows = [json.loads(line) for line in (model / "history.jsonl").read_text().splitlines()]
    for name in ("images", "phase", "reconstruction", "adversarial"):  # the last is empty during the warm-up
        assert [row[name] for row in table] == [str(row.get(name, "")) for row in rows]
    assert Image.open(model / "curves.png").size == (1200, 900)
    assert Image.open(model / "samples" / "samples-000000064.png").size == (3 * 24, 3 * 24)


def test_the_curves_shade_the_phases_before_the_game(tmp_path: Path) -> None:
    rows = [{"images": 16 * number, "d_accuracy": 0.6} for number in range(1, 5)]
    for name, phases in (("game", ["full"] * 4), ("three", ["warmup", "critic", "critic", "full"])):
        draw_curves([row | {"phase": phase} for row, phase in zip(rows, phases, strict=True)], tmp_path / f"{name}.png")
    shades = {name: np.array(Image.open(tmp_path / f"{name}.png").convert("L")) for name in ("game", "three")}
    area = {shade: (shades["three"] == shade).sum() - (shades["game"] == shade).sum() for shade in (237, 219)}
    assert area[237] > 10_000  # 0.93, the warm-up's quarter
    assert area[219] == pytest.approx(2 * area[237], rel=0.1)  # 0.86, the discriminator's half


def test_calibration_without_validation_photographs_is_refused_before_training(workplace: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.calibrate needs validation photographs"):
        train(tiny_dataset(tmp_path / "d", val=0), Path("model"), Path("checkpoints"), tiny_config("calibrate=true"))
    assert not Path("checkpoints").exists()


def test_mlflow_gets_parameters_dataset_artifacts_and_the_metrics_of_the_history(
    workplace: Path, dataset: Path
) -> None:
    train(dataset, Path("model"), Path("checkpoints"), tiny_config())
    facts = json.loads(Path("model/training.json").read_text())
    client = connection.connect()
    run = client.get_run(facts["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.generator.channels"] == "8"
    assert run.data.params["train.objective.adversarial"] == "lsgan"
    rows = [json.loads(line) for line in Path("model/history.jsonl").read_text().splitlines()]
    for name in ("reconstruction", "discriminator", "d_accuracy", "images_per_second", "learning_rate"):
        logged = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
        assert logged == [(row["images"], row[name]) for row in rows if name in row]
        assert logged
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.digest == facts["data_version"]
    assert {artifact.path for artifact in client.list_artifacts(run.info.run_id)} == {
        "curves.png",
        "history.jsonl",
        "samples",
    }


def test_an_alarm_is_logged_to_mlflow(workplace: Path, dataset: Path) -> None:
    lost = ("warmup_images=48", "health.ab_spread=[0,0.01]", "health.patience=1")
    train(dataset, Path("model"), Path("checkpoints"), tiny_config(*lost))
    client = connection.connect()
    run = client.get_run(json.loads(Path("model/training.json").read_text())["mlflow_run_id"])
    (point,) = client.get_metric_history(run.info.run_id, "health_alarm")
    assert (point.step, point.value) == (64, 1)
    assert "ab_spread over the photographs' own is" in run.data.tags["health_alarm"]
    assert "Training continues" in run.data.tags["health_alarm"]


def test_the_best_snapshot_is_saved_with_its_score(workplace: Path, dataset: Path) -> None:
    config = tiny_config("images=96", "learning_rate=0.005", "validate_every=16", "select=balance")
    train(dataset, Path("model"), Path("checkpoints"), config)
    facts = json.loads(Path("model/training.json").read_text())
    rows = [json.loads(row) for row in Path("model/history.jsonl").read_text().splitlines()]
    played = (row for row in rows if row["phase"] == "full")
    scores = {row["images"]: row["val_l1_ab"] + row["val_delta_colorfulness"] / 10 for row in played}
    assert (facts["images"], facts["val_balance"]) == (96, min(scores.values()))
    assert scores[facts["snapshot"]] == facts["val_balance"]
    assert load_generator(Path("model"))[1].images == facts["snapshot"]
    logged = connection.connect().get_metric_history(facts["mlflow_run_id"], "val_l1_ab")
    assert [(point.step, point.value) for point in logged] == [(row["images"], row["val_l1_ab"]) for row in rows]


def test_the_injected_mlflow_run_is_used(workplace: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connection.connect()
    injected = client.create_run(client.create_experiment("theirs")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", injected)
    train(dataset, Path("model"), Path("checkpoints"), tiny_config())
    assert json.loads(Path("model/training.json").read_text())["mlflow_run_id"] == injected
    assert "reconstruction" in client.get_run(injected).data.metrics


def test_a_failed_training_leaves_no_output_and_a_run_marked_failed(workplace: Path, dataset: Path) -> None:
    with pytest.raises(UserError, match="receptive field"):
        train(dataset, Path("model"), Path("checkpoints"), tiny_config("discriminator.receptive_field=70"))
    assert not list(workplace.glob("*model*"))
    (run,) = connection.connect().search_runs([connection.connect().get_experiment_by_name("colorizer").experiment_id])
    assert run.info.status == "FAILED"


def test_a_folder_with_other_files_is_refused_before_training(workplace: Path, dataset: Path) -> None:
    (workplace / "mine").mkdir()
    (workplace / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="choose another folder"):
        train(dataset, workplace / "mine", Path("checkpoints"), tiny_config())
    assert (workplace / "mine" / "thesis.txt").exists()
    assert not list(workplace.glob("checkpoints/*/checkpoint-*"))


def test_each_training_has_its_own_checkpoints_and_removes_finished_ones(workplace: Path, dataset: Path) -> None:
    stranger = workplace / "checkpoints" / "not-a-training"
    stranger.mkdir(parents=True)
    (stranger / "finished-training").touch()
    folders: list[Path] = []
    for overrides, code in (((), "one"), (("seed=1",), "one"), ((), "two")):
        train(dataset, Path("model"), Path("checkpoints"), tiny_config(*overrides), code)
        (folder,) = set(workplace.glob("checkpoints/*")) - {stranger}
        folders.append(folder)
    assert len(set(folders)) == 3
    assert stranger.exists()


def test_a_finished_training_whose_output_is_lost_resumes_from_its_last_checkpoint(
    workplace: Path, dataset: Path
) -> None:
    train(dataset, Path("model"), Path("checkpoints"), tiny_config())
    weights, history = Path("model/generator.safetensors").read_bytes(), Path("model/history.jsonl").read_text()
    first_rows = history.splitlines()[:3]
    train(dataset, Path("again"), Path("checkpoints"), tiny_config())
    assert Path("again/generator.safetensors").read_bytes() == weights
    assert (
        Path("again/history.jsonl").read_text().splitlines()[:3] == first_rows
    )  # with the same times: these rows were not trained again
    rows = [json.loads(row) for row in first_rows]
    earlier = sum(rows[0]["images"] / row["images_per_second"] for row in rows)
    assert json.loads(Path("again/training.json").read_text())["seconds"] >= round(earlier, 1)


def _command(*arguments: str) -> list[str]:
    return [*COLORIZE, "step", "train", *arguments]


@pytest.mark.slow
def test_the_command_exits_with_75_on_sigterm_and_resumes(workplace: Path, dataset: Path) -> None:
    longer = ("images=1600", "log_every=400", "sample_every=800", "checkpoint_every=80")
    sets = [part for override in longer for part in ("--set", f"train.{override}")]
    command = _command("--dataset", str(dataset), "--out", "model", *tiny_overrides(), *sets)
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(workplace.glob("workspace/checkpoints/*/checkpoint-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 75, errors
    assert re.search(
        r"^interrupted: \d+ of 1600 images are trained and saved in .*; run the same command again",
        errors,
        re.MULTILINE,
    )
    assert not list(workplace.glob("*model*"))

    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "train: 1600 of 1600 images" in result.stderr
    client = connection.connect()
    (run,) = client.search_runs([client.get_experiment_by_name("colorizer").experiment_id])
    assert run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "reconstruction")] == [
        400,
        800,
        1200,
        1600,
    ]
    train(dataset, Path("uninterrupted"), Path("elsewhere"), tiny_config(*longer))
    assert _digest(Path("model/generator.safetensors")) == _digest(Path("uninterrupted/generator.safetensors"))


def test_a_missing_dataset_is_named_in_one_line(tmp_path: Path) -> None:
    command = _command("--dataset", "nowhere", "--out", "model")
    result = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "error: nowhere is not a dataset: it has no dataset.json; run preprocess first.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_shard_is_refused_before_training(dataset: Path, workplace: Path) -> None:
    copy = Path(shutil.copytree(dataset, workplace / "copy"))
    shard = copy / "train-00000.npy"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(Damaged, match=r"train-00000\.npy is damaged: its SHA-256 is not the one in") as found:
        train(copy, Path("model"), Path("checkpoints"), tiny_config())
    assert found.value.folder == copy
    assert not Path("model").exists()


def test_a_sample_grid_shows_gray_colored_and_true_photographs(dataset: Path) -> None:
    stored = torch.from_numpy(Shards.open(dataset, "val")[:])
    torch.manual_seed(0)
    generator = Generator(tiny_config().generator).eval()
    grid = np.asarray(sample_grid(generator, stored))
    gray, colored, true = grid[:24], grid[24:48], grid[48:]
    assert (np.ptp(gray.astype(int), axis=2) <= 1).all()
    assert np.array_equal(true[:, 24:48], to_uint8(lab_to_srgb(decode_lab(stored[1]))).permute(1, 2, 0).numpy())
    assert not np.array_equal(colored, gray)
    assert np.array_equal(np.asarray(sample_grid(generator, stored)), grid)
    assert not np.array_equal(np.asarray(sample_grid(generator, stored, seed=1)), grid)


def test_a_sample_grid_colors_photographs_with_their_labels(workplace: Path) -> None:
    labelled = tiny_dataset(workplace / "labelled", labels=("day", "night"))
    train(labelled, Path("model"), Path("checkpoints"), tiny_config("generator.labels=[day, night]"))
    generator, _ = load_generator(Path("model"))
    assert generator.config.labels == ("day", "night")
    held_out = Shards.open(labelled, "val")
    y = torch.from_numpy(held_out.label_indices(generator.config.labels))
    last = np.asarray(Image.open("model/samples/samples-000000064.png")).astype(int)
    told, untold = (
        np.asarray(sample_grid(generator, torch.from_numpy(held_out[:]), given)).astype(int) for given in (y, None)
    )
    assert np.abs(last - told).mean() < np.abs(last - untold).mean()  # saved weights are rounded


def test_the_curves_page_embeds_its_images_and_escapes_html(workplace: Path, dataset: Path) -> None:
    train(dataset, Path("model"), Path("checkpoints"), tiny_config(), "<script>alert(1)</script>")
    curves_page(Path("model"), Path("pages/curves"))
    page = Path("pages/curves").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "after 32 images" in page
    assert "http" not in page
    assert "<script>" not in page


def test_sample_grids_show_training_photographs_without_validation_photographs(workplace: Path) -> None:
    only = tiny_dataset(workplace / "only", train=9, val=0)
    train(only, Path("model"), Path("checkpoints"), tiny_config("images=16", "warmup_images=0"))
    assert Image.open("model/samples/samples-000000016.png").size == (8 * 24, 3 * 24)


def test_training_starts_from_the_champion(
    workplace: Path, dataset: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    still = ("init=models:/colorizer@champion", "learning_rate=1e-9", "images=8", "warmup_images=8", "ema_half_life=0")
    train(dataset, Path("out/still"), Path("checkpoints"), tiny_config(*still))
    champion, _ = load_generator(registry.fetch("models:/colorizer@champion"))
    begun, _ = load_generator(Path("out/still"))
    for name, tensor in champion.state_dict().items():
        torch.testing.assert_close(begun.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    with pytest.raises(UserError, match="levels: 3 -> 2"):
        train(dataset, Path("out/other"), Path("checkpoints"), tiny_config(still[0], "generator.levels=2"))
    with pytest.raises(UserError, match="no previous yet"):
        train(dataset, Path("out/other"), Path("checkpoints"), tiny_config("init=models:/colorizer@previous"))
    assert not Path("out/other").exists()


def test_another_champion_starts_another_training(
    workplace: Path, dataset: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    config = tiny_config("init=models:/colorizer@champion", "images=8", "warmup_images=8")
    for _ in range(2):
        retrain(0.5 if registry.champion() is None else 0.9, None if registry.champion() is None else 0.5)
        train(dataset, Path("out/model"), Path("checkpoints"), config)
    runs = connection.connect().search_runs(["0", "1"])
    logged = {run.data.params.get("train.init") for run in runs}
    assert len(list(Path("checkpoints").iterdir())) == 1  # the next training removes a finished one's checkpoints
    assert {"models:/colorizer/1", "models:/colorizer/2"} <= logged


def test_training_starts_from_a_checkpoint(workplace: Path, dataset: Path) -> None:
    """Starts from the last good weights of another training, as after a failure."""
    train(dataset, Path("out/first"), Path("checkpoints"), tiny_config())
    (checkpoint,) = sorted(Path("checkpoints").glob("*/checkpoint-*48.safetensors"))
    kept = checkpoint.rename("checkpoint.safetensors")
    still = (f"init={kept}", "learning_rate=1e-9", "images=8", "warmup_images=8", "ema_half_life=0")
    train(dataset, Path("out/still"), Path("checkpoints"), tiny_config(*still))
    begun, _ = load_generator(Path("out/still"))
    weights = below(read_checkpoint(kept).tensors, "ema")
    for name, tensor in begun.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-3, atol=1e-6)
    with pytest.raises(UserError, match="levels: 3 -> 2"):
        train(dataset, Path("out/other"), Path("checkpoints"), tiny_config(still[0], "generator.levels=2"))
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"train\.init: checkpoint\.safetensors is no whole checkpoint"):
        train(dataset, Path("out/other"), Path("checkpoints"), tiny_config(still[0]))
