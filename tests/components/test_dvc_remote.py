"""Photographs fetched from a DVC remote in S3: what `dvc push` put there, by hash alone, whatever the network does."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.preprocess.dvc_remote import fetch
from components.preprocess.step import preprocess
from components.storage import Address
from model.errors import UserError
from tests.components.test_preprocess import config
from tests.dvc_project import Project
from tests.faulty_proxy import FaultyProxy
from tests.s3 import S3Server

PREFIX = "teams/landscapes"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, photos: Path, s3: S3Server) -> Project:
    """Four photographs, pushed to S3 by DVC itself."""
    project = Project.create(tmp_path_factory.mktemp("project"), photos)
    project.environment |= s3.environment
    project.run("dvc", "remote", "add", "--local", "s3", f"s3://{s3.bucket}/{PREFIX}")
    project.run("dvc", "remote", "modify", "--local", "s3", "endpointurl", s3.endpoint)
    project.run("dvc", "push", "--quiet", "--remote", "s3")
    return project


@pytest.fixture
def remote(s3: S3Server) -> Address:
    return Address(s3.bucket, PREFIX)


def _held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _store(s3: S3Server, remote: Address, content: bytes, md5: str = "") -> str:
    """Puts an object where DVC would, under its MD5 or under another one, which it returns."""
    md5 = md5 or hashlib.md5(content).hexdigest()
    s3.client().put_object(Bucket=remote.bucket, Key=f"{remote.prefix}/files/md5/{md5[:2]}/{md5[2:]}", Body=content)
    return md5


def _version(s3: S3Server, remote: Address, *files: tuple[str, str]) -> str:
    content = json.dumps([{"md5": md5, "relpath": name} for name, md5 in files]).encode()
    return _store(s3, remote, content, f"{hashlib.md5(content).hexdigest()}.dir")


def test_a_version_comes_whole_through_faults(
    project: Project, proxy: FaultyProxy, remote: Address, tmp_path: Path
) -> None:
    fetched = [project.version, *(hashlib.md5(content).hexdigest() for content in project.photographs.values())]
    faults = ("truncate answer", "refuse", "truncate answer", "stall", "drop")
    proxy.planned = {f"GET .*{md5[2:]}": fault for md5, fault in zip(fetched, faults, strict=True)}
    fetch(remote, project.version, tmp_path / "photographs")
    assert _held(tmp_path / "photographs") == project.photographs
    assert not proxy.planned


def test_what_is_there_already_is_not_fetched_again(
    project: Project, proxy: FaultyProxy, remote: Address, tmp_path: Path
) -> None:
    fetch(remote, project.version, tmp_path)
    one, other = sorted(project.photographs)[:2]
    (tmp_path / one).unlink()
    (tmp_path / other).write_bytes(b"half of i")
    proxy.requests.clear()
    fetch(remote, project.version, tmp_path)
    assert _held(tmp_path) == project.photographs
    assert len([request for request in proxy.requests if request.startswith("GET")]) == 3  # the list, and these two


def test_a_flipped_bit_and_a_missing_object_are_named(
    project: Project, proxy: FaultyProxy, s3: S3Server, remote: Address, tmp_path: Path
) -> None:
    name, content = sorted(project.photographs.items())[0]
    md5 = hashlib.md5(content).hexdigest()
    _store(s3, remote, bytes([content[0] ^ 1]) + content[1:], md5)
    with pytest.raises(UserError, match=f"{remote}: it has a damaged copy of {name} "):
        fetch(remote, project.version, tmp_path)
    assert not (tmp_path / name).exists()
    s3.client().delete_object(Bucket=remote.bucket, Key=f"{remote.prefix}/files/md5/{md5[:2]}/{md5[2:]}")
    with pytest.raises(UserError, match=f"{remote}: it lacks {name}; push again"):
        fetch(remote, project.version, tmp_path)
    _store(s3, remote, content)
    fetch(remote, project.version, tmp_path)  # goes on with what it has
    assert _held(tmp_path) == project.photographs


@pytest.mark.parametrize("name", ["../outside.jpg", "/outside.jpg", "a/../../outside.jpg", ""])
def test_nothing_is_written_outside_the_folder(
    proxy: FaultyProxy, s3: S3Server, remote: Address, tmp_path: Path, name: str
) -> None:
    md5 = _store(s3, remote, b"a photograph")
    version = _version(s3, remote, ("inside.jpg", md5), (name, md5))
    with pytest.raises(UserError, match="leads out of the folder"):
        fetch(remote, version, tmp_path / "photographs")
    assert not list(tmp_path.iterdir())


def test_what_is_no_version_is_refused(proxy: FaultyProxy, s3: S3Server, remote: Address, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not under DVC is no version of a folder; give the md5"):
        fetch(remote, "not under DVC", tmp_path)
    with pytest.raises(UserError, match=r"it lacks the version 0{32}\.dir"):
        fetch(remote, f"{'0' * 32}.dir", tmp_path)
    with pytest.raises(UserError, match="list of files is none of DVC's"):
        fetch(remote, _store(s3, remote, b"[1]", f"{hashlib.md5(b'[1]').hexdigest()}.dir"), tmp_path)
    with pytest.raises(UserError, match="list of files is none of DVC's"):
        fetch(remote, _version(s3, remote, ("inside.jpg", "../../secret")), tmp_path)


def test_preprocess_goes_on_as_for_a_folder(
    workplace: Path, project: Project, s3: S3Server, remote: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (s3.environment | {"AWS_ENDPOINT_URL_S3": s3.endpoint}).items():
        monkeypatch.setenv(name, value)
    few = config(min_photographs=1, val_percent=0, test_percent=50)
    places = {"s3": str(remote), "folder": project.root / "data"}
    for out, place in places.items():
        preprocess(place, Path(out), few, data_version=project.version, workers=1)
    manifests = [pq.read_table(Path(out, "manifest.parquet")).to_pylist() for out in places]
    assert manifests[0] == manifests[1]
    assert json.loads(Path("s3/dataset.json").read_text())["data_version"] == project.version
    assert not list(Path("workspace/photographs").iterdir())
