"""Tests of the training state: the files of a training's folder, and resuming from them."""

from pathlib import Path

import pytest

from model.data.shards import Shards
from model.training.checkpoint import checkpoints, newest_checkpoint
from model.training.loop import train
from model.utils.errors import UserError
from tests.support.tiny import tiny_config, tiny_dataset
from tests.support.trainings import CrashError, Recorder, crash, history, logged, same, stop_at

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards.open(tiny_dataset(tmp_path_factory.mktemp("tiny")), "train")


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, shards: Shards) -> None:
    train(tiny_config(), shards, tmp_path, {"data_version": "old"})
    with pytest.raises(UserError) as raised:
        train(tiny_config("learning_rate=0.1", "generator.norm=batch"), shards, tmp_path, {"data_version": "new"})
    for words in (
        "config.learning_rate: 0.0002 -> 0.1",
        "config.generator.norm: group -> batch",
        "data_version: old -> new",
    ):
        assert words in str(raised.value)


def test_a_damaged_history_is_rewritten_from_the_checkpoint(tmp_path: Path, shards: Shards) -> None:
    train(tiny_config(), shards, tmp_path, {})
    rows = logged(tmp_path)
    for damaged in ("", "{", (tmp_path / "history.jsonl").read_text() * 2):
        (tmp_path / "history.jsonl").write_text(damaged)
        train(tiny_config(), shards, tmp_path, {})
        assert logged(tmp_path)[:3] == rows[:3]
        assert len(logged(tmp_path)) == 4


class _Files(Recorder):
    """Adds a file that counts the steps to each checkpoint."""

    def files(self) -> dict[str, bytes]:
        return {"steps": str(len(self.steps)).encode()}


def test_a_single_checkpoint_file_suffices_to_resume(tmp_path: Path, shards: Shards) -> None:
    """Resumes in another folder from the newest checkpoint alone."""
    config = tiny_config("validate_every=16", "select=l1_ab", "log_every=16", "health.patience=2")
    whole = train(config, shards, tmp_path / "whole", {})
    with pytest.raises(CrashError):
        train(config, shards, tmp_path / "lost", {}, reporter=_Files(stop_at(56, crash).progress))
    (tmp_path / "node").mkdir()
    checkpoints(tmp_path / "lost")[0].rename(tmp_path / "node" / "checkpoint-000000000048.safetensors")
    checkpoint = newest_checkpoint(tmp_path / "node")
    assert checkpoint
    assert checkpoint.files == {"steps": b"6"}
    assert checkpoint.history == logged(tmp_path / "lost")
    resumed = train(config, shards, tmp_path / "node", {})
    assert same(resumed.generator, whole.generator)
    assert resumed.snapshot == whole.snapshot
    assert history(tmp_path / "node") == history(tmp_path / "whole")
