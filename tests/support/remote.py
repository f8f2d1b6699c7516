"""What tests see of checkpoints in S3: its objects, and what latest.json says."""

import json
from typing import Any

from components.shared.s3.client import Address, list_objects
from tests.support.s3 import S3Server


def contents(s3: S3Server, root: Address) -> dict[str, bytes]:
    """All objects below an address, by the rest of their keys."""
    client, found = s3.client(), {}
    for key in [entry["Key"] for entry in list_objects(client, root)]:
        found[key.removeprefix(f"{root.prefix}/")] = client.get_object(Bucket=root.bucket, Key=key)["Body"].read()
    return found


def latest(s3: S3Server, root: Address) -> dict[str, Any]:
    """What the one latest.json says; a state of no images before there is one."""
    client = s3.client()
    found = [entry["Key"] for entry in list_objects(client, root) if entry["Key"].endswith("/latest.json")]
    if not found:
        return {"images": 0}
    (key,) = found
    state: dict[str, Any] = json.loads(client.get_object(Bucket=root.bucket, Key=key)["Body"].read())
    return state
