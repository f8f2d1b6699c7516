"""Checkpoints in S3, as tests see them."""

import re

from components.shared.s3.client import Address, list_objects
from model.training.checkpoint import Checkpoint
from tests.support.s3 import S3Server


def contents(s3: S3Server, root: Address) -> dict[str, bytes]:
    """Returns all objects below an address, by the rest of their keys."""
    client, found = s3.client(), {}
    for key in [entry["Key"] for entry in list_objects(client, root)]:
        found[key.removeprefix(f"{root.prefix}/")] = client.get_object(Bucket=root.bucket, Key=key)["Body"].read()
    return found


def checkpoints(s3: S3Server, root: Address) -> list[Checkpoint]:
    """Returns the checkpoints of the one training below an address, oldest first; fails at a damaged one."""
    found = contents(s3, root)
    return [Checkpoint.from_bytes(found[key], key) for key in sorted(found) if "/checkpoint-" in key]


def latest(s3: S3Server, root: Address) -> int:
    """Returns the position of the newest checkpoint; 0 before there is one."""
    keys = [entry["Key"] for entry in list_objects(s3.client(), root)]
    return max((int(found[1]) for key in keys if (found := re.search(r"/checkpoint-(\d+)", key))), default=0)
