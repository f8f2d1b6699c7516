"""Tests of publishing, pushing and pulling with a real S3 server."""

from pathlib import Path

import pytest

from pipeline.data import versions as data
from tests.support.dvc_project import Project
from tests.support.s3 import S3Server


@pytest.fixture
def on_s3(project: Project, s3: S3Server, request: pytest.FixtureRequest) -> Project:
    """Returns a clone with its photographs, whose default remote is a folder of its own in a bucket."""
    data.ensure_data(project.root)
    project.run("dvc", "remote", "add", "--default", "storage", f"s3://{s3.bucket}/{request.node.name}")
    project.run("dvc", "remote", "modify", "storage", "endpointurl", s3.endpoint)
    project.environment |= s3.environment
    return project


def _object(s3: S3Server, project: Project, original: Project, path: str) -> dict[str, str]:
    """Returns the bucket and the key of a photograph."""
    key = original.stored(path).relative_to(original.root / ".dvc" / "remote")
    folder = (project.root / ".dvc" / "config").read_text().split(f"s3://{s3.bucket}/")[1].split()[0]
    return {"Bucket": s3.bucket, "Key": f"{folder}/{key.as_posix()}"}


def test_publish_to_s3_records_the_latest_version(on_s3: Project, s3: S3Server, request: pytest.FixtureRequest) -> None:
    assert on_s3.version in on_s3.run("colorize", "data", "publish")
    latest = s3.client().get_object(Bucket=s3.bucket, Key=f"{request.node.name}/latest")
    assert latest["Body"].read().decode() == f"{on_s3.version}\n"
    assert "pushed 0 new files" in on_s3.run("colorize", "data", "push")


def test_photographs_pushed_to_s3_can_be_pulled_again(on_s3: Project, original: Project, photos: Path) -> None:
    assert "pushed 5 new files" in on_s3.run("colorize", "data", "push")
    assert "pushed 0 new files" in on_s3.run("colorize", "data", "push")
    on_s3.forget()
    assert "fetched 5 files" in on_s3.run("colorize", "data", "pull")
    assert on_s3.photographs == original.photographs

    on_s3.add(photos / "scratch" / "Nature__tree.jpg", "scratch/Nature__tree.jpg")
    on_s3.record("A fifth photograph")
    on_s3.git("checkout", "--quiet", "HEAD~1", "data.dvc")
    on_s3.forget()
    on_s3.run("dvc", "pull")  # plain DVC can fetch them too
    assert on_s3.photographs == original.photographs


def test_a_wrong_s3_key_is_named(on_s3: Project, s3: S3Server) -> None:
    for command, variable in (("push", "AWS_ACCESS_KEY_ID"), ("pull", "AWS_SECRET_ACCESS_KEY")):
        on_s3.environment |= s3.environment | {variable: "wrong"}
        line = on_s3.refusal("colorize", "data", command)
        assert f"at {s3.endpoint}: access refused; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in line
        on_s3.forget()


def test_a_missing_s3_key_is_named(on_s3: Project) -> None:
    del on_s3.environment["AWS_SECRET_ACCESS_KEY"], on_s3.environment["AWS_ACCESS_KEY_ID"]
    line = on_s3.refusal("colorize", "data", "push")
    assert "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment" in line


def test_a_missing_s3_bucket_is_named(on_s3: Project, s3: S3Server) -> None:
    on_s3.run("dvc", "remote", "modify", "storage", "url", "s3://no-such-bucket/colorize")
    for command in ("push", "pull"):
        line = on_s3.refusal("colorize", "data", command)
        assert f"s3://no-such-bucket/colorize at {s3.endpoint}: there is no bucket named no-such-bucket" in line
        on_s3.forget()


def test_missing_and_damaged_s3_objects_are_named(on_s3: Project, original: Project, s3: S3Server) -> None:
    on_s3.run("colorize", "data", "push")
    dune = _object(s3, on_s3, original, "mate-backgrounds/Dune.jpg")
    on_s3.forget()
    s3.client().put_object(**dune, Body=b"damaged")
    assert "it has a damaged copy of data/mate-backgrounds/Dune.jpg;" in on_s3.refusal("colorize", "data", "pull")
    s3.client().delete_object(**dune)
    assert "it lacks data/mate-backgrounds/Dune.jpg;" in on_s3.refusal("colorize", "data", "pull")
    s3.client().delete_object(**_object(s3, on_s3, original, ""))
    on_s3.forget()
    assert f"it does not hold the version {original.version}" in on_s3.refusal("colorize", "data", "pull")


def test_an_unreachable_s3_server_is_named(on_s3: Project) -> None:
    on_s3.environment["AWS_MAX_ATTEMPTS"] = "1"  # DVC itself still retries five times
    on_s3.forget()
    on_s3.run("dvc", "remote", "modify", "storage", "endpointurl", "http://127.0.0.1:9")
    line = on_s3.refusal("colorize", "data", "pull")
    assert "at http://127.0.0.1:9: it cannot be reached" in line
