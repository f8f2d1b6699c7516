"""Tests of checkpoints in S3: simultaneous attempts, faults of S3 and the network, and damaged objects."""

import random
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from components.shared.s3 import client as storage
from components.shared.s3.client import Address
from components.train import remote as module
from components.train.remote import RemoteCheckpoints
from components.train.step import train
from model.training.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint
from model.utils.errors import UserError
from tests.support.faulty_proxy import FaultyProxy
from tests.support.remote import checkpoints, contents, latest
from tests.support.s3 import S3Server
from tests.support.tiny import tiny_config, tiny_dataset

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns the checkpoint folder of a training on a node."""
    return tmp_path / "node" / "training"


def checkpoint(folder: Path, images: int, content: bytes = b"") -> Path:
    return save_checkpoint(folder, Checkpoint(images, {}, {"weights": torch.ones(8)}, [], {"content": content}))


def upload(root: Address, folder: Path, images: int, content: bytes = b"") -> None:
    """Uploads a checkpoint, as an attempt that then comes to its end."""
    with RemoteCheckpoints(root, folder) as remote:
        remote.save(checkpoint(folder, images, content))


def newest(root: Address, node: Path) -> Checkpoint:
    """Returns what an attempt begins with on a new node."""
    with RemoteCheckpoints(root, node / "training"):
        found = newest_checkpoint(node / "training")
    assert found
    return found


def wait_for(s3: S3Server, root: Address, images: int) -> None:
    until = time.monotonic() + 60
    while latest(s3, root) < images and time.monotonic() < until:
        time.sleep(0.01)
    assert latest(s3, root) == images


def test_a_stale_attempt_and_its_successor_leave_whole_checkpoints(
    proxy: FaultyProxy, s3: S3Server, root: Address, folder: Path, tmp_path: Path
) -> None:
    stale = tmp_path / "stale" / "training"
    with RemoteCheckpoints(root, stale) as old:
        old.save(checkpoint(stale, 16))
        wait_for(s3, root, 16)
        with RemoteCheckpoints(root, folder) as new:
            assert [found.name for found in folder.iterdir()] == ["checkpoint-000000000016.safetensors"]
            old.save(checkpoint(stale, 32))
            wait_for(s3, root, 32)
            new.save(checkpoint(folder, 24))
    assert [found.images for found in checkpoints(s3, root)] == [24, 32]
    assert newest(root, tmp_path / "next").images == 32


def test_eight_simultaneous_attempts_leave_the_last_two_checkpoints(
    proxy: FaultyProxy, s3: S3Server, root: Address, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: upload(root, tmp_path / str(n) / "training", 16 * n), range(1, 9)))
    assert newest(root, tmp_path / "next").images == 128
    upload(root, tmp_path / "another" / "training", 144)
    assert [found.images for found in checkpoints(s3, root)] == [128, 144]


def test_an_upload_whose_answer_is_lost_is_sent_again(
    proxy: FaultyProxy, root: Address, folder: Path, tmp_path: Path
) -> None:
    proxy.planned["^PUT .*/checkpoint-"] = "drop after"
    upload(root, folder, 16)
    assert not proxy.planned
    assert newest(root, tmp_path).images == 16


def test_a_request_to_a_silent_server_is_retried(
    proxy: FaultyProxy, root: Address, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "READ_TIMEOUT", 0.5)
    proxy.planned["^PUT .*/checkpoint-"], proxy.stall_seconds = "stall", 3600
    upload(root, folder, 16)
    assert not proxy.planned
    assert newest(root, tmp_path).images == 16


def test_a_large_checkpoint_is_uploaded_in_parts_despite_network_faults(
    proxy: FaultyProxy, root: Address, folder: Path, tmp_path: Path
) -> None:
    content = random.Random(0).randbytes(20 << 20)
    proxy.planned = {
        "^PUT .*partNumber=1": "refuse",
        "^PUT .*partNumber=2": "truncate request",
        "^PUT .*partNumber=3": "drop after",
        "^POST .*uploadId=": "refuse after",
        "^GET .*/checkpoint-": "truncate answer",
    }
    upload(root, folder, 16, content)
    assert newest(root, tmp_path).files["content"] == content
    assert not proxy.planned


def test_objects_of_other_names_are_neither_fetched_nor_deleted(
    proxy: FaultyProxy, s3: S3Server, root: Address, folder: Path, tmp_path: Path
) -> None:
    names = ("training/../checkpoint-000000000099.safetensors", "training/x/checkpoint-000000000099.safetensors")
    for name in names[1:]:
        s3.client().put_object(Bucket=root.bucket, Key=f"{root.prefix}/{name}", Body=b"another's")
    upload(root, folder, 16)
    assert newest(root, tmp_path / "next").images == 16
    assert [found.name for found in (tmp_path / "next").rglob("*")] == [
        "training",
        "checkpoint-000000000016.safetensors",
    ]
    assert names[1] in contents(s3, root)


def test_s3_keeps_the_last_two_checkpoints_until_the_training_is_long_finished(
    workplace: Path, dataset: Path, proxy: FaultyProxy, s3: S3Server, root: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(dataset, Path("model"), str(root), tiny_config("images=96"))
    (folder,) = Path("workspace/checkpoints").iterdir()
    older, newer = checkpoints(s3, root)
    assert (older.images, newer.images) == (64, 80)
    assert [row["images"] for row in newer.history] == [16, 32, 48, 64, 80]
    assert sorted(newer.files) == ["mlflow_run_id", "samples/samples-000000032.png", "samples/samples-000000064.png"]
    assert sorted(contents(s3, root)) == [
        f"{folder.name}/checkpoint-000000000064.safetensors",
        f"{folder.name}/checkpoint-000000000080.safetensors",
        f"{folder.name}/finished-training",
    ]
    assert not list(folder.glob(".upload-*"))

    train(dataset, Path("model"), str(root), tiny_config("seed=2"))  # a finished training stays for an hour
    assert f"{folder.name}/checkpoint-000000000080.safetensors" in contents(s3, root)
    monkeypatch.setattr(module, "FINISHED_STAYS", timedelta(0))
    train(dataset, Path("model"), str(root), tiny_config("seed=1"))
    assert not [key for key in contents(s3, root) if key.startswith(folder.name)]


def test_a_damaged_object_is_replaced_by_the_same_checkpoint(
    proxy: FaultyProxy, s3: S3Server, root: Address, folder: Path, tmp_path: Path
) -> None:
    upload(root, folder, 16)
    upload(root, folder, 32)
    key = f"{root.prefix}/training/checkpoint-000000000032.safetensors"
    for damaged in (b"holes", b""):
        s3.client().put_object(Bucket=root.bucket, Key=key, Body=damaged)
        assert newest(root, tmp_path / f"next-{len(damaged)}").images == 16
        upload(root, tmp_path / f"next-{len(damaged)}" / "training", 32)
        assert [found.images for found in checkpoints(s3, root)] == [16, 32]


def test_a_damaged_checkpoint_in_s3_is_skipped_and_the_result_is_the_same(
    workplace: Path,
    dataset: Path,
    proxy: FaultyProxy,
    s3: S3Server,
    root: Address,
    caplog: pytest.LogCaptureFixture,
) -> None:
    train(dataset, Path("whole"), str(root), tiny_config())
    name = "checkpoint-000000000048.safetensors"
    (key,) = [key for key in contents(s3, root) if key.endswith(name)]
    content = bytearray(contents(s3, root)[key])
    content[len(content) // 2] ^= 4
    s3.client().put_object(Bucket=root.bucket, Key=f"{root.prefix}/{key}", Body=bytes(content))
    shutil.rmtree("workspace/checkpoints")
    train(dataset, Path("again"), str(root), tiny_config())
    assert f"{key} cannot be used (its SHA-256 differs); resuming from the one before" in caplog.text
    weights = [Path(out, "generator.safetensors").read_bytes() for out in ("whole", "again")]
    assert weights[0] == weights[1]
    rows = [Path(out, "history.jsonl").read_text().splitlines() for out in ("whole", "again")]
    assert rows[0][:2] == rows[1][:2]  # with the same times: these rows were not trained again
    assert rows[0][2] != rows[1][2]


def test_a_wrong_address_or_credential_is_named_before_training(
    workplace: Path, dataset: Path, proxy: FaultyProxy, root: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(place: str) -> None:
        train(dataset, Path("model"), place, tiny_config())

    with pytest.raises(UserError, match=r"nowhere/x/.*: no such bucket or object; create the bucket nowhere"):
        start("s3://nowhere/x")
    for place in ("s3:///x", "s3://no bucket/x"):
        with pytest.raises(UserError, match=f"{place}.* is not an S3 address"):
            start(place)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "seaweedfs:8333")
    with pytest.raises(UserError, match="Invalid endpoint: seaweedfs:8333; correct AWS_ENDPOINT_URL_S3"):
        start(str(root))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UserError, match="access refused; check AWS_ACCESS_KEY_ID"):
        start(str(root))
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UserError, match="no credentials; set AWS_ACCESS_KEY_ID"):
        start(str(root))
    assert not list(Path("workspace").rglob("checkpoint-*"))


def test_training_continues_with_a_warning_when_s3_refuses_uploads(
    workplace: Path,
    dataset: Path,
    proxy: FaultyProxy,
    root: Address,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy.answer = lambda request: 403 if "checkpoint-0" in request else None  # boto3 itself retries a 503
    monkeypatch.setattr(module, "GRACE_SECONDS", 1)
    assert train(dataset, Path("model"), str(root), tiny_config()) == 64
    assert re.search(r"The checkpoint of \d+ images is not in S3 yet: .* access refused", caplog.text)
    assert re.search(r"has none yet, not that of 48: .* access refused", caplog.text)


def test_a_server_that_forbids_deletion_still_gets_the_newest_checkpoint(
    workplace: Path,
    dataset: Path,
    proxy: FaultyProxy,
    s3: S3Server,
    root: Address,
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy.answer = lambda request: 403 if re.search("^DELETE .*/checkpoint-", request) else None
    assert train(dataset, Path("model"), str(root), tiny_config("images=80")) == 80
    assert latest(s3, root) == 64
    (said,) = [record.getMessage() for record in caplog.records if "S3" in record.getMessage()]
    assert said.startswith("The newest checkpoint is in S3, but older ones cannot be deleted and take up space: s3://")
    assert "access refused; check AWS_ACCESS_KEY_ID and its rights to list, read, write and delete" in said
    assert len([key for key in contents(s3, root) if "/checkpoint-" in key]) == 4
