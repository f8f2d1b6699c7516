"""Tests of the scripts that the manifests' jobs run, against a real S3 server and a real PostgreSQL."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from k8s.check.manifests import ROOT
from tests.support.faulty_proxy import faulty_proxy
from tests.support.loopback import free_port
from tests.support.patience import patience
from tests.support.postgres import BIN, cluster, postgres
from tests.support.s3 import S3Server

WAITS = "does not answer yet; this waits for up to 60 s."
BACKUP = ROOT / "k8s" / "base" / "backup" / "backup.py"
WAIT = BACKUP.with_name("first_contact.sh")
BUCKETS = ROOT / "k8s" / "overlays" / "local" / "buckets.py"


def run(s3: S3Server, script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    place = {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    everything = os.environ | s3.environment | place | environment
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, env=everything, capture_output=True, text=True, check=False, timeout=patience(60))


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


def started(port: int, script: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Starts a script whose server, S3 or PostgreSQL, is to be at a port, and waits until it waits for it."""
    program = "bash" if script.suffix == ".sh" else sys.executable
    server = {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PGHOST": "127.0.0.1",
    }
    paths = {"PATH": f"{BIN}:{os.environ['PATH']}", "PGPORT": str(port)}
    process = subprocess.Popen(
        [program, script, *arguments],
        env=os.environ | server | paths | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    name = "PostgreSQL at 127.0.0.1" if script.suffix == ".sh" else f"S3 at http://127.0.0.1:{port}"
    assert process.stderr.readline() == f"{name} {WAITS}\n"
    return process


def test_backup_and_buckets_wait_for_s3(s3: S3Server, tmp_path: Path):
    port = free_port()
    (tmp_path / "dump").write_bytes(b"a dump")
    backup = ("upload", str(tmp_path / "dump"), "--bucket", s3.bucket, "--keep", "1")
    waiting = [
        started(port, BUCKETS, "late", **s3.environment),
        started(port, BACKUP, *backup, **s3.environment),
    ]
    with faulty_proxy(s3.endpoint, port=port):
        ends = [(*process.communicate(timeout=patience(60)), process.returncode) for process in waiting]
    assert [(err, status) for _, err, status in ends] == [("", 0), ("", 0)]
    assert ends[0][0] == "s3://late is new\n"
    assert "6 bytes" in ends[1][0]


@pytest.fixture(scope="module")
def database() -> Iterator[Path]:
    if not BIN.is_dir():
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    with cluster() as data:
        yield data


def commands() -> dict[str, list[str]]:
    """Returns the commands of the manifests' containers that dump and restore the database, by name."""
    jobs = yaml.safe_load_all((ROOT / "k8s" / "base" / "backup.yaml").read_text(encoding="utf-8"))
    pods = [job["spec"]["jobTemplate"]["spec"]["template"]["spec"] for job in jobs]
    containers = [container for pod in pods for container in (*pod["initContainers"], *pod["containers"])]
    return {found["name"]: found["command"] for found in containers if found["name"] in ("dump", "restore")}


def test_dump_and_restore_wait_for_postgresql_and_bring_the_database_back(database: Path, tmp_path: Path):
    port = free_port()

    def begin(name: str) -> "subprocess.Popen[str]":
        shell, script, *command = commands()[name]
        assert (shell, script) == ("bash", f"/scripts/{WAIT.name}")
        places = {"/backup": str(tmp_path), "$(PGDATABASE)": "mlflow"}
        for there, here in places.items():
            command = [word.replace(there, here) for word in command]
        return started(port, WAIT, *command, PGUSER="postgres", PGDATABASE="mlflow")

    def sql(text: str, name: str = "mlflow") -> str:
        where = f"--host=127.0.0.1 --port={port} --username=postgres --dbname={name} --tuples-only --no-align"
        command = [BIN / "psql", *shlex.split(where), f"--command={text}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with postgres(database, port):
        sql("CREATE DATABASE mlflow", "postgres")
        sql("CREATE TABLE runs AS SELECT 7 AS number")
    for name, after in (("dump", "DROP TABLE runs"), ("restore", "")):
        waiting = begin(name)
        with postgres(database, port):
            assert waiting.wait(timeout=patience(60)) == 0, waiting.stderr and waiting.stderr.read()
            if after:
                sql(after)
            else:
                assert sql("SELECT number FROM runs") == "7"


def test_a_database_that_never_comes_is_named_by_the_client(tmp_path: Path):
    if not BIN.is_dir():
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    waiting = started(free_port(), WAIT, "pg_dump", PGUSER="postgres", SECONDS="58")  # bash counts on from there
    out, err = waiting.communicate(timeout=patience(60))
    assert (waiting.returncode, out) == (1, "")
    assert "Connection refused" in err
