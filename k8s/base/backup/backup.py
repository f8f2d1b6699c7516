"""A dump of PostgreSQL to S3 and back, checked by its SHA-256. Where and with which keys: the AWS_* variables.

backup.py upload FILE --bucket B --keep N: as B/mlflow/TIME.dump beside its .sha256, then deletes all but the newest N.
backup.py fetch FILE --bucket B: brings the newest, or the one that BACKUP_KEY names.
"""

import argparse
import hashlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import boto3

from components.shared.machine.first_contact import await_server

PREFIX = "mlflow/"


def upload(s3, file: Path, bucket: str, keep: int) -> None:
    """The checksum comes last: a dump without one is a torn upload, which no fetch takes."""
    key = f"{PREFIX}{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}.dump"
    s3.upload_file(str(file), bucket, key)
    stored = hashlib.sha256()
    for chunk in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
        stored.update(chunk)
    if stored.hexdigest() != _sha256(file):
        sys.exit(f"s3://{bucket}/{key} is not what was sent; the backup failed, run it again.")
    s3.put_object(Bucket=bucket, Key=f"{key}.sha256", Body=stored.hexdigest().encode())
    print(f"s3://{bucket}/{key}: {file.stat().st_size} bytes, SHA-256 {stored.hexdigest()}")
    for old in _complete(s3, bucket)[:-keep]:
        s3.delete_object(Bucket=bucket, Key=f"{old}.sha256")
        s3.delete_object(Bucket=bucket, Key=old)
        print(f"s3://{bucket}/{old}: deleted, {keep} newer ones are kept")


def fetch(s3, file: Path, bucket: str, key: str) -> None:
    complete = _complete(s3, bucket)
    key = key or (complete[-1] if complete else "")
    if key not in complete:
        sys.exit(f"s3://{bucket} has no backup {key or 'at all'}; it has: {', '.join(complete) or 'none'}.")
    s3.download_file(bucket, key, str(file))
    expected = s3.get_object(Bucket=bucket, Key=f"{key}.sha256")["Body"].read().decode()
    if _sha256(file) != expected:
        sys.exit(f"s3://{bucket}/{key} is damaged: its SHA-256 is not {expected}; name another in BACKUP_KEY.")
    print(f"s3://{bucket}/{key}: {file.stat().st_size} bytes, SHA-256 {expected}")


def _complete(s3, bucket: str) -> list[str]:
    """Keys of the dumps that have a checksum, oldest first."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
    keys = {item["Key"] for page in pages for item in page.get("Contents", [])}
    return sorted(key for key in keys if f"{key}.sha256" in keys)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("upload", "fetch"):
        command = commands.add_parser(name)
        command.add_argument("file", type=Path)
        command.add_argument("--bucket", required=True)
    commands.choices["upload"].add_argument("--keep", type=int, required=True)
    arguments = parser.parse_args()
    s3 = boto3.client("s3")
    await_server(s3.meta.endpoint_url, "S3")
    if arguments.command == "upload":
        upload(s3, arguments.file, arguments.bucket, arguments.keep)
    else:
        fetch(s3, arguments.file, arguments.bucket, os.environ.get("BACKUP_KEY", ""))


if __name__ == "__main__":
    main()
