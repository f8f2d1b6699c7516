"""Datasets whose shards stay in S3: published there, and opened by whoever trains or scores.

A dataset's folder is then without its shards and has a file more, address.txt, with the address where they lie, beside
a copy of all other files. The address holds a hash of dataset.json, so that one never replaces another; copied by other
means to any other prefix, a dataset can be read from there as well.
"""

import fcntl
import hashlib
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from components.shared.machine.progress import progress
from components.shared.machine.workspace import workspace
from components.shared.s3.client import Address, client, download, explained, is_s3, keys, read, status, upload
from components.shared.s3.streaming.cache import ShardCache
from model.data.format import describe
from model.data.shards import SOURCES, SPLITS, Shards, Split, verify
from model.utils.errors import UserError
from model.utils.files import folder_aside

_ADDRESS = "address.txt"


def open_shards(folder: Path, split: Split) -> Shards:
    """Opens a split of a dataset, whose shards lie in the folder or at the address that it names.

    Raises:
        UserError: as `Shards.open`.
    """
    named = folder / _ADDRESS
    if not named.exists():
        return Shards.open(folder, split)
    return Shards.open(folder, split, ShardCache.of(Address.parse(named.read_text(encoding="utf-8").strip())))


def require_whole(folder: Path) -> None:
    """Compares a dataset's files with their SHA-256; shards that lie in S3 are compared as they come.

    Raises:
        UserError: a file is missing.
        Damaged: a file is not as it was written.
    """
    if not (folder / _ADDRESS).exists():
        verify(folder)


def at_hand(dataset: Path | str) -> Path:
    """The folder of a dataset: as it is; of one at s3://bucket/prefix, a folder in the workspace without its shards.

    Raises:
        UserError: S3 refuses or cannot be reached; there is no dataset, or its manifest is damaged.
    """
    if not is_s3(dataset):
        return Path(dataset)
    address = Address.parse(str(dataset))
    with explained(address / "dataset.json"):
        s3 = client()
        content, _ = read(s3, address / "dataset.json")
        folders = workspace() / "datasets"
        folder = folders / hashlib.sha256(f"{address}\n".encode() + content).hexdigest()[:16]
        folders.mkdir(parents=True, exist_ok=True)
        with (folders / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # processes that train together all ask
            if not folder.exists():
                with folder_aside(folder, "dataset.json") as aside:
                    (aside / "dataset.json").write_bytes(content)
                    _fetch_manifest(s3, address, aside)
    return folder


def _fetch_manifest(s3: Any, address: Address, aside: Path) -> None:
    """All that a dataset's folder has besides dataset.json and shards."""
    with (aside / "manifest.parquet").open("wb") as file:
        if download(s3, address / "manifest.parquet", file) != describe(aside)["manifest"]["sha256"]:
            raise UserError(f"{address / 'manifest.parquet'} is damaged: its SHA-256 is not the one in dataset.json.")
    try:
        (aside / SOURCES).write_bytes(read(s3, address / SOURCES)[0])
    except ClientError as error:
        if status(error) != 404:
            raise
    (aside / _ADDRESS).write_text(f"{address}\n", encoding="utf-8")


def publish(folder: Path, root: Address) -> Address:
    """Moves the shards of a dataset to S3, with a copy of its other files; what is there already is not sent again.

    Args:
        folder: of the dataset; it keeps the other files, and gets address.txt.
        root: of all published datasets.

    Returns:
        The dataset's address, below `root`.

    Raises:
        UserError: the folder is no dataset; S3 refuses or cannot be reached.
    """
    description = describe(folder)
    address = root / hashlib.sha256((folder / "dataset.json").read_bytes()).hexdigest()[:16]
    shards = [entry["file"] for split in SPLITS for entry in description["shards"][split]]
    others = [name for name in ("manifest.parquet", SOURCES, "dataset.json") if (folder / name).exists()]
    with explained(address), progress(len(shards), "publish", "shards") as advance:
        s3 = client()
        there = {entry["Key"]: entry["Size"] for entry in keys(s3, address)}
        for name in shards:
            if there.get((address / name).prefix) != (folder / name).stat().st_size:
                upload(s3, folder / name, address / name)
            advance(1)
        for name in others:  # dataset.json last: whoever finds it finds all
            upload(s3, folder / name, address / name)
    (folder / _ADDRESS).write_text(f"{address}\n", encoding="utf-8")
    for name in shards:
        (folder / name).unlink()
    return address
