"""Checkpoints in S3: a lost node leaves no trace, whatever S3 and the network do, and nobody overwrites anybody."""

import random
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from components.shared.s3 import client as storage
from components.shared.s3.client import Address
from components.train import remote as remote_checkpoints
from components.train import remote_state
from components.train.remote_state import RemoteState, Superseded
from components.train.step import train
from model.utils.errors import UserError
from tests.support.faulty_proxy import FaultyProxy
from tests.support.remote import contents, latest
from tests.support.s3 import S3Server
from tests.support.tiny import tiny_config, tiny_dataset

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("tiny"))


def test_a_stale_attempt_overwrites_nothing(proxy: FaultyProxy, s3: S3Server, root: Address, tmp_path: Path) -> None:
    address, file = root / "training", tmp_path / "file"
    file.write_text("old")
    old = RemoteState(address)
    old.publish(16, {"file": file})
    new = RemoteState(address)
    assert new.state.images == 16
    file.write_text("stale")
    with pytest.raises(Superseded, match=f"another attempt, {new.state.attempt}, has taken over"):
        old.publish(32, {"file": file})
    assert latest(s3, root)["images"] == 16
    file.write_text("new")
    new.publish(24, {"file": file})
    with pytest.raises(Superseded):
        old.publish(40, {"file": file})

    newest = RemoteState(address)
    newest.download(tmp_path / "node")
    assert (tmp_path / "node" / "file").read_text() == "new"
    assert sorted(contents(s3, address)) == sorted(["latest.json", newest.state.files["file"].key])


def test_of_eight_attempts_at_once_one_may_write(proxy: FaultyProxy, root: Address, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(RemoteState, 8 * [root / "training"]))
    assert sorted(int(state.state.attempt[:6]) for state in states) == list(range(1, 9))
    newest = max(states, key=lambda state: state.state.attempt)
    for state in states:
        with nullcontext() if state is newest else pytest.raises(Superseded):
            state.publish(16, {"file": tmp_path / "file"})
    assert RemoteState(root / "training").state.images == 16


def test_a_write_whose_answer_gets_lost_is_no_stranger(proxy: FaultyProxy, root: Address, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = RemoteState(root / "training")
    proxy.planned["^PUT .*latest.json$"] = "drop after"
    state.publish(16, {"file": tmp_path / "file"})
    assert not proxy.planned
    assert RemoteState(root / "training").state.images == 16


def test_a_server_that_falls_silent_is_asked_again(
    proxy: FaultyProxy, root: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "READ_TIMEOUT", 0.5)
    (tmp_path / "file").touch()
    state = RemoteState(root / "training")
    proxy.planned["^PUT .*-file$"], proxy.stall_seconds = "stall", 3600
    state.publish(16, {"file": tmp_path / "file"})
    assert not proxy.planned
    assert RemoteState(root / "training").state.images == 16


def test_a_large_file_goes_in_parts_whatever_the_network_does(
    proxy: FaultyProxy, root: Address, tmp_path: Path
) -> None:
    content = random.Random(0).randbytes(20 << 20)
    (tmp_path / "file").write_bytes(content)
    proxy.planned = {
        "^PUT .*partNumber=1": "refuse",
        "^PUT .*partNumber=2": "truncate request",
        "^PUT .*partNumber=3": "drop after",
        "^POST .*uploadId=": "refuse after",
        "^GET .*-file$": "truncate answer",
    }
    RemoteState(root / "training").publish(16, {"file": tmp_path / "file"})
    RemoteState(root / "training").download(tmp_path / "node")
    assert (tmp_path / "node" / "file").read_bytes() == content
    assert not proxy.planned


def test_names_that_lead_out_of_the_folder_are_refused(proxy: FaultyProxy, root: Address, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    RemoteState(root / "training").publish(16, {"../file": tmp_path / "file"})
    with pytest.raises(UserError, match=r"'\.\./file' leads out"):
        RemoteState(root / "training").download(tmp_path / "node")


def test_a_server_that_ignores_conditions_is_refused(proxy: FaultyProxy, root: Address) -> None:
    proxy.answer = lambda request: 200 if len(proxy.requests) > 3 else None  # whatever is asked from then on
    with pytest.raises(UserError, match="ignores conditions"):
        RemoteState(root / "training")


def test_s3_has_the_last_two_and_all_that_goes_with_them(
    workplace: Path, dataset: Path, proxy: FaultyProxy, s3: S3Server, root: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(dataset, Path("model"), str(root), tiny_config("images=96"))
    (folder,) = Path("workspace/checkpoints").iterdir()
    state = latest(s3, root)
    assert state["images"] == 80
    assert sorted(state["files"]) == [
        "checkpoint-000000000064.safetensors",
        "checkpoint-000000000080.safetensors",
        "history.jsonl",
        "mlflow_run_id",
        "samples/samples-000000032.png",
        "samples/samples-000000064.png",
    ]
    named = [f"{folder.name}/{file['key']}" for file in state["files"].values()]
    assert sorted(contents(s3, root)) == sorted(
        [*named, f"{folder.name}/finished-training", f"{folder.name}/latest.json"]
    )
    assert not list(folder.glob(".upload-*"))

    RemoteState(root / "another").remove_finished(root)  # an hour later, say, when the output is not yet safe
    assert f"{folder.name}/latest.json" in contents(s3, root)
    monkeypatch.setattr(remote_state, "FINISHED_STAYS", timedelta(0))
    train(dataset, Path("model"), str(root), tiny_config("seed=1"))
    assert not [key for key in contents(s3, root) if key.startswith(folder.name)]


def test_a_damaged_object_is_replaced_by_the_same_file(
    proxy: FaultyProxy, s3: S3Server, root: Address, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("whole")
    RemoteState(root).publish(16, {"file": tmp_path / "file"})
    (key,) = [key for key in contents(s3, root) if key.endswith("-file")]
    s3.client().put_object(Bucket=root.bucket, Key=f"{root.prefix}/{key}", Body=b"holey")
    state = RemoteState(root)
    state.download(tmp_path / "node")
    assert not list((tmp_path / "node").iterdir())
    state.publish(16, {"file": tmp_path / "file"})
    assert key not in contents(s3, root)
    RemoteState(root).download(tmp_path / "next")
    assert (tmp_path / "next" / "file").read_text() == "whole"


def test_a_damaged_object_costs_only_time(
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
    assert f"{key} cannot be used (its SHA-256 differs); going on without {name}" in caplog.text
    weights = [Path(out, "generator.safetensors").read_bytes() for out in ("whole", "again")]
    assert weights[0] == weights[1]
    rows = [Path(out, "history.jsonl").read_text().splitlines() for out in ("whole", "again")]
    assert rows[0][:2] == rows[1][:2]  # times too: these were not trained again
    assert rows[0][2] != rows[1][2]


def test_a_mistake_is_told_before_training(
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


def test_training_goes_on_when_s3_does_not(
    workplace: Path,
    dataset: Path,
    proxy: FaultyProxy,
    root: Address,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy.answer = lambda request: 403 if "checkpoint-0" in request else None  # boto3 would try 503 again by itself
    monkeypatch.setattr(remote_checkpoints, "GRACE_SECONDS", 1)
    assert train(dataset, Path("model"), str(root), tiny_config()) == 64
    assert re.search(r"The checkpoint of \d+ images is not in S3 yet: .* access refused", caplog.text)
    assert re.search(r"has none yet, not that of 48: .* access refused", caplog.text)


def test_a_server_that_forbids_to_delete_has_the_newest_state_all_the_same(
    workplace: Path,
    dataset: Path,
    proxy: FaultyProxy,
    s3: S3Server,
    root: Address,
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy.answer = lambda request: 403 if re.search("^DELETE .*checkpoint-", request) else None
    assert train(dataset, Path("model"), str(root), tiny_config("images=80")) == 80
    assert latest(s3, root)["images"] == 64
    (said,) = [record.getMessage() for record in caplog.records if "S3" in record.getMessage()]
    assert said.startswith("The newest checkpoint is in S3, but older ones cannot be deleted and take up space: s3://")
    assert "access refused; check AWS_ACCESS_KEY_ID and its rights to list, read, write and delete" in said
    assert len([key for key in contents(s3, root) if "-checkpoint-" in key]) == 4


def test_an_attempt_that_is_not_the_newest_any_more_ends(
    workplace: Path, dataset: Path, proxy: FaultyProxy, root: Address
) -> None:
    newer: list[RemoteState] = []

    def take_over(request: str) -> None:
        if not newer and (found := re.search(r"/([0-9a-f]{16})/.*checkpoint-", request)):
            newer.append(RemoteState(root / found[1]))

    proxy.answer = take_over
    with pytest.raises(Superseded, match="has taken over"):
        train(dataset, Path("model"), str(root), tiny_config("images=100000", "checkpoint_every=80"))
    assert not Path("model").exists()
