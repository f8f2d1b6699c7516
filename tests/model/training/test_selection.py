"""Tests of snapshot selection: the best snapshot is returned, and a crash does not lose it."""

from pathlib import Path

import pytest
import torch

from model.data.shards import Shards
from model.inference.saved import load_generator, save_generator
from model.training.distributed import ProcessGroup
from model.training.loop import train
from model.training.validation import Validation
from tests.support.tiny import tiny_config, tiny_dataset
from tests.support.trainings import CrashError, crash, history, same, stop_at

ALONE = ProcessGroup(rank=0, count=1, device=torch.device("cpu"))
GAME = ("images=96", "validate_every=16", "learning_rate=0.005")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"), val=19)


@pytest.fixture(scope="module")
def shards(dataset: Path) -> Shards:
    return Shards.open(dataset, "train")


def _score(select: str, row: dict[str, float]) -> float:
    return row["val_l1_ab"] + (row["val_delta_colorfulness"] / 10 if select == "balance" else 0)


@pytest.mark.parametrize("select", ["l1_ab", "balance"])
def test_the_best_snapshot_of_the_adversarial_phase_is_returned(tmp_path: Path, shards: Shards, select: str) -> None:
    trained = train(tiny_config(*GAME, f"select={select}"), shards, tmp_path, {})
    scores = {row["images"]: _score(select, row) for row in history(tmp_path) if row["phase"] == "full"}
    assert trained.snapshot
    assert trained.images == 96
    assert trained.snapshot.images == min(scores, key=scores.__getitem__)
    assert trained.snapshot.score == min(scores.values())

    save_generator(tmp_path, trained.generator, crop=16, size=24, images=trained.snapshot.images)
    measured = Validation(Shards.open(shards.folder, "val"), ALONE)(load_generator(tmp_path)[0])
    assert _score(select, measured) == pytest.approx(trained.snapshot.score, rel=0.01)  # rounded to half precision


def test_a_warm_up_snapshot_is_selected_without_an_adversarial_phase(tmp_path: Path, shards: Shards) -> None:
    quiet = ("objective.adversarial=none", "images=48", "warmup_images=48", "validate_every=16")
    trained = train(tiny_config(*quiet, "select=l1_ab"), shards, tmp_path, {})
    rows = history(tmp_path)
    assert {row["phase"] for row in rows} == {"warmup"}
    assert trained.snapshot
    assert trained.snapshot.score == min(row["val_l1_ab"] for row in rows)


def test_a_crash_does_not_change_the_selected_snapshot(tmp_path: Path, shards: Shards) -> None:
    """The checkpoint keeps the best snapshot, also when it comes before the crash."""
    config = tiny_config(*GAME, "select=balance", "decay=none", "checkpoint_every=24")
    whole = train(config, shards, tmp_path / "whole", {})

    for images in (56, 88):
        folder = tmp_path / str(images)
        with pytest.raises(CrashError):
            train(config, shards, folder, {}, reporter=stop_at(images, crash))
        again = train(config, shards, folder, {})
        assert again.snapshot == whole.snapshot
        assert same(again.generator, whole.generator)
        assert history(folder) == history(tmp_path / "whole")
