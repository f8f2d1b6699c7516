"""Published datasets: shards that stay in S3 and are streamed from there.

The local folder of a published dataset has no shards. Its file address.txt names the address of the shards, which lie
beside a copy of all other files. The address ends in a hash of dataset.json, so that no dataset replaces another. A
dataset that was copied to any other prefix can be read from that prefix too.
"""

import fcntl
import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

from components.shared.machine.progress import progress
from components.shared.machine.workspace import workspace
from components.shared.s3.client import (
    Address,
    client,
    explained,
    fetch,
    fetch_bytes,
    is_s3,
    list_objects,
    upload,
)
from components.shared.s3.streaming.cache import ShardCache
from model.data.format import SPLITS, Split, read_description, verify
from model.data.kinds import SOURCES
from model.data.shards import Shards
from model.utils.errors import UserError
from model.utils.files import folder_aside, write_aside

_ADDRESS = "address.txt"


def open_shards(folder: Path, split: Split) -> Shards:
    """Opens a split of a dataset; its shards lie in the folder or in S3.

    Raises:
        UserError: as `Shards.open`.
    """
    address = published_address(folder)
    return Shards.open(folder, split, ShardCache.in_workspace(address)) if address else Shards.open(folder, split)


def published_address(folder: Path) -> Address | None:
    """Returns where the shards of a dataset lie in S3; None when they lie in the folder."""
    path = folder / _ADDRESS
    return Address.parse(path.read_text(encoding="utf-8").strip()) if path.exists() else None


def verify_dataset(folder: Path) -> None:
    """Checks the SHA-256 of a dataset's files. Shards in S3 are checked when they are fetched.

    Raises:
        UserError: a file is missing.
        Damaged: the SHA-256 of a file differs.
    """
    if not (folder / _ADDRESS).exists():
        verify(folder)


def local_folder(dataset: Path | str) -> Path:
    """Returns the folder of a dataset; of s3://bucket/prefix, fetches all but the shards into the workspace.

    Raises:
        UserError: S3 refuses or cannot be reached; the dataset is missing, or its manifest is damaged.
    """
    if not is_s3(dataset):
        return Path(dataset)
    address = Address.parse(str(dataset))
    with explained(address / "dataset.json"):
        s3 = client()
        description = BytesIO()
        fetch(s3, address / "dataset.json", description)
        content = description.getvalue()
        folders = workspace() / "datasets"
        folder = folders / hashlib.sha256(f"{address}\n".encode() + content).hexdigest()[:16]
        folders.mkdir(parents=True, exist_ok=True)
        with (folders / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # all processes of a training call this
            if not folder.exists():
                with folder_aside(folder, "dataset.json") as aside:
                    (aside / "dataset.json").write_bytes(content)
                    _fetch_manifest(s3, address, aside)
    return folder


def _fetch_manifest(s3: Any, address: Address, aside: Path) -> None:
    """Writes what a dataset's folder holds besides dataset.json and shards."""
    with (aside / "manifest.parquet").open("wb") as file:
        if fetch(s3, address / "manifest.parquet", file) != read_description(aside)["manifest"]["sha256"]:
            raise UserError(f"{address / 'manifest.parquet'} is damaged: its SHA-256 is not the one in dataset.json.")
    if (sources := fetch_bytes(s3, address / SOURCES)) is not None:
        (aside / SOURCES).write_bytes(sources)
    (aside / _ADDRESS).write_text(f"{address}\n", encoding="utf-8")


def publish(folder: Path, root: Address) -> Address:
    """Moves the shards of a dataset to S3 and copies its other files; sends nothing twice.

    Args:
        folder: folder of the dataset. It keeps the other files, and gets address.txt.
        root: prefix of all published datasets.

    Returns:
        Address of the dataset, below `root`.

    Raises:
        UserError: the folder holds no dataset; S3 refuses or cannot be reached.
    """
    shards = _shard_names(folder)
    address = root / hashlib.sha256((folder / "dataset.json").read_bytes()).hexdigest()[:16]
    upload_dataset(folder, address)
    write_aside(folder / _ADDRESS, f"{address}\n".encode())
    for name in shards:
        (folder / name).unlink()
    return address


def upload_dataset(folder: Path, address: Address) -> None:
    """Copies a dataset to S3; sends no shard twice.

    Raises:
        UserError: the folder holds no dataset; S3 refuses or cannot be reached.
    """
    shards = _shard_names(folder)
    others = [name for name in ("manifest.parquet", SOURCES, "dataset.json") if (folder / name).exists()]
    with explained(address), progress(len(shards), "publish", "shards") as advance:
        s3 = client()
        present = {entry["Key"]: entry["Size"] for entry in list_objects(s3, address)}
        for name in shards:
            if present.get((address / name).prefix) != (folder / name).stat().st_size:
                upload(s3, folder / name, address / name)
            advance(1)
        for name in others:  # dataset.json last: a reader that finds it finds every file
            upload(s3, folder / name, address / name)


def _shard_names(folder: Path) -> list[str]:
    shards = read_description(folder)["shards"]
    return [entry["file"] for split in SPLITS for entry in shards[split]]
