"""Tests of the scripts that the manifests' jobs run, against a real S3 server."""

import os
import subprocess
import sys
from pathlib import Path

from k8s.check.manifests import ROOT
from tests.support.s3 import S3Server

BACKUP = ROOT / "k8s" / "base" / "backup" / "backup.py"
BUCKETS = ROOT / "k8s" / "overlays" / "local" / "buckets.py"


def run(s3: S3Server, script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    place = {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    everything = os.environ | s3.environment | place | environment
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, env=everything, capture_output=True, text=True, check=False, timeout=60)


def keys(s3: S3Server) -> list[str]:
    return [item["Key"] for item in s3.client().list_objects_v2(Bucket=s3.bucket, Prefix="mlflow/").get("Contents", [])]


def put(s3: S3Server, key: str, body: bytes) -> None:
    s3.client().put_object(Bucket=s3.bucket, Key=key, Body=body)


def test_buckets_are_made_once(s3: S3Server):
    first, second = (run(s3, BUCKETS, "one", "two") for _ in range(2))
    assert first.stdout.splitlines() == ["s3://one is new", "s3://two is new"], first.stderr
    assert second.stdout.splitlines() == ["s3://one exists", "s3://two exists"], second.stderr


def test_a_backup_is_fetched_whole_and_old_backups_are_deleted(s3: S3Server, tmp_path: Path):
    for day in ("01", "02", "03"):
        put(s3, f"mlflow/2026-01-{day}T03-17-00Z.dump", day.encode())
        put(s3, f"mlflow/2026-01-{day}T03-17-00Z.dump.sha256", b"0" * 64)
    put(s3, "mlflow/9999-torn.dump", b"an upload without its checksum")
    (tmp_path / "dump").write_bytes(bytes(range(256)) * 1000)

    nothing = run(s3, BACKUP, "fetch", str(tmp_path / "back"), "--bucket", "one")
    assert (nothing.returncode, "no backup at all" in nothing.stderr) == (1, True)

    done = run(s3, BACKUP, "upload", str(tmp_path / "dump"), "--bucket", s3.bucket, "--keep", "2")
    assert done.returncode == 0, done.stderr
    kept = [key for key in keys(s3) if key.endswith(".sha256")]
    assert len(kept) == 2
    assert kept[0] == "mlflow/2026-01-03T03-17-00Z.dump.sha256"

    done = run(s3, BACKUP, "fetch", str(tmp_path / "back"), "--bucket", s3.bucket)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == (tmp_path / "dump").read_bytes()

    for key, said in (("mlflow/2026-01-03T03-17-00Z.dump", "damaged"), ("mlflow/9999-torn.dump", "no backup")):
        refused = run(s3, BACKUP, "fetch", str(tmp_path / "back"), "--bucket", s3.bucket, BACKUP_KEY=key)
        assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr
