"""Tests of one flipped bit: the damaged file is named and not used, and the next start recovers.

The first three tests share one workspace and run in their order.
"""

import shutil
import time
from pathlib import Path

import pytest

from tests.faults.rig import Rig, flip, require_clean
from tests.support.dvc_project import Project
from tests.support.small_run import EASY
from tests.support.tiny import ROOT


def _one(rig: Rig, pattern: str) -> Path:
    (found,) = rig.workspace.glob(pattern)
    return found


def test_damaged_outputs_of_an_earlier_run_fail_the_step_and_are_made_again(finished: Rig) -> None:
    rig = finished
    shard = _one(rig, "pipeline/*/merge/dataset/train-00000.npy")
    flip(shard)
    run = rig.run("train.seed=1")
    require_clean(run, "train")
    assert run.last_line == (
        f"train failed: {shard} is damaged: its SHA-256 is not the one in dataset.json; run preprocess again or fetch "
        "the dataset again."
    )
    again = rig.run("train.seed=1")
    assert again.status == 0, again.output
    assert again.outcomes["merge"] == "done"
    assert rig.aliases()["challenger"] == 2

    model = max(rig.workspace.glob("pipeline/*/choose/model"))  # a copy of train's, which nothing reads again
    flip(model / "generator.safetensors")
    run = rig.run("train.seed=1")
    require_clean(run, "register")
    assert str(model) in run.last_line
    assert "damaged" in run.last_line
    again = rig.run("train.seed=1")
    assert again.status == 0, again.output
    assert (again.outcomes["train"], again.outcomes["choose"]) == ("reused", "done")
    assert rig.aliases()["challenger"] == 2  # the same weights once more


def test_a_damaged_checkpoint_is_skipped_with_a_warning(finished: Rig) -> None:
    longer = ("train.images=3200", "train.sample_every=3200")
    started = finished.start(*longer)
    started.step("train")
    while len(_unfinished(finished)) < 2:
        time.sleep(0.02)
    started.kill()
    started.end()
    newest = _unfinished(finished)[-1]
    flip(newest)
    run = finished.run(*longer)
    assert run.status == 0, run.output
    said = f"warning: {newest} cannot be used (its SHA-256 differs); resuming from the one before."
    assert said in run.output.splitlines()


def _unfinished(rig: Rig) -> list[Path]:
    """Returns the checkpoints of the unfinished training, oldest first."""
    found = sorted(rig.workspace.glob("checkpoints/*/checkpoint-*.safetensors"))
    return [path for path in found if not (path.parent / "finished-training").exists()]


def test_a_damaged_champion_in_mlflow_is_refused_until_it_is_restored_or_replaced(finished: Rig) -> None:
    rig, old = finished, finished.aliases()["champion"]
    assert rig.run("train.seed=5", *EASY).status == 0
    champion = rig.aliases()["champion"]
    assert champion != old
    models = rig.workspace.glob("mlartifacts/models/*/artifacts/artifacts/generator/generator.safetensors")
    path = max(models, key=lambda path: path.stat().st_mtime)
    flip(path)
    shutil.rmtree(rig.workspace / "cache" / "models")  # the copy here is good
    run = rig.run()
    require_clean(run, "evaluate")
    assert run.last_line == (
        f"evaluate failed: models:/colorizer/{champion}: the weights in MLflow are damaged (their SHA-256 is not its "
        "weights_sha256); restore them from a backup, or put another version in service (`colorize promote V`)."
    )
    assert rig.aliases()["champion"] == champion
    rolled_back = rig.colorize("rollback")
    assert rolled_back.status == 0, rolled_back.output
    assert rig.aliases()["champion"] == old
    again = rig.run()
    assert again.status == 0, again.output

    refused = rig.colorize("promote", str(champion))
    assert refused.status == 1
    assert "the weights in MLflow are damaged" in refused.last_line
    flip(path)
    assert rig.colorize("promote", str(champion)).status == 0


@pytest.fixture
def clone(tmp_path: Path, few: Path, photos: Path) -> Rig:
    """Returns a rig in a checkout of this code, whose photographs are in the DVC remote alone."""
    project = Project.create(tmp_path / "clone", photos)
    for photograph in few.iterdir():
        project.add(photograph, photograph.name)
    project.record("More")
    project.forget()
    for name in ("components", "k8s", "model", "pipeline", "recipes", "serving", "params.yaml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project.root / name)
    return Rig(project.root, None, dict(project.environment), root=project.root)


def test_a_missing_dvc_remote_and_a_damaged_object_of_it_are_refused(clone: Rig) -> None:
    remote = clone.folder / ".dvc" / "remote"
    remote.rename(remote.with_name("elsewhere"))
    run = clone.run()
    require_clean(run)
    assert run.last_line == f"error: {remote}: there is no such folder; restore it, or name another remote."
    remote.with_name("elsewhere").rename(remote)

    objects = remote / "files" / "md5"
    largest = max((path for path in objects.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    flip(largest)
    run = clone.run()
    require_clean(run)
    assert run.last_line.startswith(f"error: {remote}: it has a damaged copy of data/")
    assert run.last_line.endswith("; push it from a clone that has it (`colorize data push --remote sample`).")
    flip(largest)
    again = clone.run()
    assert again.status == 0, again.output
