"""Tests of photographs read by hash from a DVC remote in S3, despite faults of the network."""

import hashlib
import json
from pathlib import Path

import pytest

from components.preprocess.step import preprocess
from components.shared.photos.source import source
from components.shared.s3.client import Address
from model.utils.errors import UserError
from tests.components.preprocess.test_step import config
from tests.support.dvc_project import Project
from tests.support.faulty_proxy import FaultyProxy
from tests.support.s3 import S3Server

PREFIX = "teams/landscapes"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, photos: Path, s3: S3Server) -> Project:
    """Returns a project of four photographs, pushed to S3 by DVC itself."""
    project = Project.create(tmp_path_factory.mktemp("project"), photos)
    project.environment |= s3.environment
    project.run("dvc", "remote", "add", "--local", "s3", f"s3://{s3.bucket}/{PREFIX}")
    project.run("dvc", "remote", "modify", "--local", "s3", "endpointurl", s3.endpoint)
    project.run("dvc", "push", "--quiet", "--remote", "s3")
    return project


@pytest.fixture
def remote(s3: S3Server) -> Address:
    return Address(s3.bucket, PREFIX)


def _read(remote: Address, version: str) -> dict[str, bytes]:
    """Returns the content of every file of a version."""
    with source(str(remote)) as found:
        paths = {file.path: found.fetch(file, number) for number, file in enumerate(found.listed(version))}
        return {name: path.read_bytes() for name, path in paths.items()}


def _store(s3: S3Server, remote: Address, content: bytes, md5: str = "") -> str:
    """Puts an object where DVC would, under its MD5 or the given one; returns the MD5."""
    md5 = md5 or hashlib.md5(content).hexdigest()
    s3.client().put_object(Bucket=remote.bucket, Key=f"{remote.prefix}/files/md5/{md5[:2]}/{md5[2:]}", Body=content)
    return md5


def _version(s3: S3Server, remote: Address, *files: tuple[str, str]) -> str:
    content = json.dumps([{"md5": md5, "relpath": name} for name, md5 in files]).encode()
    return _store(s3, remote, content, f"{hashlib.md5(content).hexdigest()}.dir")


def test_a_version_is_read_whole_despite_network_faults(project: Project, proxy: FaultyProxy, remote: Address) -> None:
    fetched = [project.version, *(hashlib.md5(content).hexdigest() for content in project.photographs.values())]
    faults = ("truncate answer", "refuse", "truncate answer", "stall", "drop")
    proxy.planned = {f"GET .*{md5[2:]}": fault for md5, fault in zip(fetched, faults, strict=True)}
    assert _read(remote, project.version) == project.photographs
    assert not proxy.planned


def test_a_flipped_bit_and_a_missing_object_are_named(
    project: Project, proxy: FaultyProxy, s3: S3Server, remote: Address
) -> None:
    name, content = sorted(project.photographs.items())[0]
    md5 = hashlib.md5(content).hexdigest()
    _store(s3, remote, bytes([content[0] ^ 1]) + content[1:], md5)
    with pytest.raises(UserError, match=f"{remote}: it has a damaged copy of {name} "):
        _read(remote, project.version)
    s3.client().delete_object(Bucket=remote.bucket, Key=f"{remote.prefix}/files/md5/{md5[:2]}/{md5[2:]}")
    with pytest.raises(UserError, match=f"{remote}: it lacks {name}; push again"):
        _read(remote, project.version)
    _store(s3, remote, content)
    assert _read(remote, project.version) == project.photographs


@pytest.mark.parametrize("name", ["../outside.jpg", "/outside.jpg", "a/../../outside.jpg", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(
    proxy: FaultyProxy, s3: S3Server, remote: Address, name: str
) -> None:
    md5 = _store(s3, remote, b"a photograph")
    version = _version(s3, remote, ("inside.jpg", md5), (name, md5))
    with pytest.raises(UserError, match="leads out of the folder"):
        _read(remote, version)


def test_an_invalid_or_missing_version_is_refused(proxy: FaultyProxy, s3: S3Server, remote: Address) -> None:
    with pytest.raises(UserError, match="not under DVC is no version of a folder; give the md5"):
        _read(remote, "not under DVC")
    with pytest.raises(UserError, match=r"it lacks the version 0{32}\.dir"):
        _read(remote, f"{'0' * 32}.dir")
    with pytest.raises(UserError, match="list of files is none of DVC's"):
        _read(remote, _store(s3, remote, b"[1]", f"{hashlib.md5(b'[1]').hexdigest()}.dir"))
    with pytest.raises(UserError, match="list of files is none of DVC's"):
        _read(remote, _version(s3, remote, ("inside.jpg", "../../secret")))


def test_preprocess_makes_the_same_dataset_from_a_remote_and_from_a_folder(
    project: Project, proxy: FaultyProxy, remote: Address, tmp_path: Path
) -> None:
    few = config(min_photographs=1, val_percent=0, test_percent=50)
    datasets = []
    for out, place in (("s3", str(remote)), ("folder", project.root / "data")):
        preprocess(place, tmp_path / out, few, data_version=project.version, workers=1)
        datasets.append({path.name: path.read_bytes() for path in (tmp_path / out).iterdir()})
    assert datasets[0] == datasets[1]
    assert json.loads((tmp_path / "s3" / "dataset.json").read_text())["data_version"] == project.version
