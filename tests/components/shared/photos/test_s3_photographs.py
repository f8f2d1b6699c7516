"""Tests of photographs read from a prefix in S3 despite network faults, compared with a folder of them."""

import time
from pathlib import Path

import pytest

from components.preprocess.look_alikes import Member
from components.preprocess.partition import partition
from components.preprocess.prepare import prepare_part
from components.preprocess.prepared import PIXELS, ROWS
from components.preprocess.split_record import SplitRecord
from components.preprocess.step import preprocess
from components.preprocess.store import Store
from components.shared.photos.source import remote
from components.shared.s3 import client as storage
from components.shared.s3.client import Address
from model.utils.errors import UserError
from tests.components.preprocess.test_parts import LABELED, _one_color_table, album, decoding_only, held, in_parts
from tests.support.faulty_proxy import FaultyProxy
from tests.support.s3 import S3Server

__all__ = ["_one_color_table", "album"]
PLAIN = LABELED.model_copy(update={"labels": "folder"})


@pytest.fixture
def prefix(s3: S3Server, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Address:
    """Returns the prefix of the album in S3, listed in pages of five."""
    prefix = Address(s3.bucket, f"albums/{tmp_path.name}")
    for name, content in held(album).items():
        s3.client().put_object(Bucket=prefix.bucket, Key=f"{prefix.prefix}/{name}", Body=content)
    s3.client().put_object(Bucket=prefix.bucket, Key=f"{prefix.prefix}/a/", Body=b"")
    monkeypatch.setattr(storage, "PAGE_SIZE", 5)
    return prefix


def latest(photos: Address) -> str:
    with remote(str(photos)) as found:
        return found.latest()


def test_a_prefix_gives_the_same_dataset_as_a_folder_despite_network_faults(
    album: Path, prefix: Address, proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    version = latest(prefix)
    preprocess(album, tmp_path / "expected", LABELED, data_version=version, workers=1)
    proxy.requests.clear()
    proxy.share, proxy.stall_seconds = 0.15, 0.2
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # pauses before the next attempt
    assert in_parts(str(prefix), tmp_path, 3, version=version) == held(tmp_path / "expected")
    assert sum(proxy.faults.values()) > 5
    listings = [request for request in proxy.requests if "continuation-token" in request]
    assert len(listings) >= len(held(album)) // 5


@pytest.mark.parametrize("what", ["vanished", "changed"])
def test_an_object_that_vanished_or_changed_after_listing_is_named(
    album: Path, prefix: Address, proxy: FaultyProxy, s3: S3Server, tmp_path: Path, what: str,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    partition(str(prefix), tmp_path / "listing", PLAIN, data_version=latest(prefix), partitions=1)
    key = f"{prefix.prefix}/zz-1.jpg"
    if what == "vanished":
        s3.client().delete_object(Bucket=prefix.bucket, Key=key)
    else:
        s3.client().put_object(Bucket=prefix.bucket, Key=key, Body=(album / "zz-2.jpg").read_bytes())
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(UserError, match=rf"{prefix}/zz-1\.jpg {what} after the photographs were listed"):
        prepare_part(str(prefix), tmp_path / "listing", 0, tmp_path / "part", PLAIN, workers=1)
    assert len([request for request in proxy.requests if "GET" in request and "zz-1.jpg" in request]) > 1
    assert not (tmp_path / "part").exists()
    s3.client().put_object(Bucket=prefix.bucket, Key=key, Body=(album / "zz-1.jpg").read_bytes())
    prepare_part(str(prefix), tmp_path / "listing", 0, tmp_path / "part", PLAIN, workers=1)
    assert {path.name for path in (tmp_path / "part").iterdir()} == {ROWS, PIXELS}


def test_a_prefix_that_changed_since_the_start_of_the_run_is_refused(
    album: Path, prefix: Address, proxy: FaultyProxy, s3: S3Server, tmp_path: Path
):
    version = latest(prefix)
    s3.client().put_object(Bucket=prefix.bucket, Key=f"{prefix.prefix}/new.jpg", Body=b"new")
    with pytest.raises(UserError, match=rf"{prefix} holds .*\.s3, not {version}: photographs were added"):
        partition(str(prefix), tmp_path / "listing", PLAIN, data_version=version, partitions=1)


def test_fetched_objects_are_deleted_and_giant_objects_are_not_fetched(
    album: Path, prefix: Address, proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No file is left at the end, and a giant object is not fetched."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr("components.shared.photos.listing.MAX_BYTES", 20_000)
    monkeypatch.setattr("components.preprocess.worker.MAX_BYTES", 20_000)
    version = latest(prefix)
    partition(str(prefix), tmp_path / "listing", PLAIN, data_version=version, partitions=1)
    prepare_part(str(prefix), tmp_path / "listing", 0, tmp_path / "part", PLAIN, workers=1)
    assert "bytes, more than the limit of 20000" in (tmp_path / "part" / ROWS).read_text()
    assert not list(scratch.iterdir())


def test_photographs_that_the_store_knows_are_not_fetched(
    album: Path, prefix: Address, proxy: FaultyProxy, s3: S3Server, root: Address, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    def store() -> Store:
        return Store(str(root), LABELED, "the code")

    in_parts(str(prefix), tmp_path / "before", 2, version=latest(prefix), store=store())
    s3.client().put_object(
        Bucket=prefix.bucket, Key=f"{prefix.prefix}/new.png", Body=(album / "mirrored.png").read_bytes() + b"\n"
    )
    version = latest(prefix)
    decoding_only(monkeypatch)
    with pytest.raises(AssertionError, match="decoded once more"):
        in_parts(str(prefix), tmp_path / "after", 3, version=version, store=store())
    monkeypatch.undo()
    for name, value in (s3.environment | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}).items():
        monkeypatch.setenv(name, value)
    proxy.requests.clear()
    found = in_parts(str(prefix), tmp_path / "after", 3, version=version, store=store())
    read = {request.partition("?")[0] for request in proxy.requests if request.startswith("GET")}
    assert {name.rpartition("/")[2] for name in read if name.endswith((".jpg", ".png"))} == {"new.png"}
    preprocess(str(prefix), tmp_path / "expected", LABELED, data_version=version, workers=1)
    assert found == held(tmp_path / "expected")


def test_the_record_of_splits_is_kept_in_s3(proxy: FaultyProxy, root: Address):
    first, second = Member("a" * 64, 1, 2**64 - 1, "00ff", "a" * 64), Member("b" * 64, 3, 4, "", "a" * 64)
    for member in (first, second):
        SplitRecord(str(root)).add([member])
    assert SplitRecord(str(root)).read() == [first, second]
