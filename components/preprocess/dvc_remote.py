"""Photographs from a DVC remote in S3, by the hash of their version alone: neither git nor DVC is needed."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from components.progress import progress
from components.storage import Address, client, explained, inside, is_s3, read, status
from components.workspace import workspace
from model.errors import UserError
from model.files import write_aside

_AT_ONCE = 10  # as many connections as boto3 keeps
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class _File:
    path: Path
    name: str
    md5: str


@contextmanager
def at_hand(photos: Path | str, version: str) -> Iterator[Path]:
    """The folder of photographs: as it is, or fetched into the workspace and removed when the body has ended well.

    After a failure what was fetched stays, for the next attempt.
    """
    if not is_s3(photos):
        yield Path(photos)
        return
    folder = workspace() / "photographs" / version
    fetch(Address.parse(str(photos)), version, folder)
    yield folder
    shutil.rmtree(folder)


def fetch(remote: Address, version: str, folder: Path) -> None:
    """Fetches a version of a folder that DVC tracks; files that are there already and undamaged stay.

    Args:
        remote: where `dvc push` put it: files/md5/ab/cdef... lies below.
        version: the MD5 that its .dvc file names; it ends in .dir.
        folder: made when missing.

    Raises:
        UserError: S3 refuses or cannot be reached; the remote lacks the version or one of its files, or has it
            damaged; a name leads out of the folder; the folder cannot be written. Names the first such file.
    """
    if not _MD5.fullmatch(version.removesuffix(".dir")) or not version.endswith(".dir"):
        raise UserError(f"{version or 'an empty text'} is no version of a folder; give the md5 that data.dvc names.")
    with explained(remote):
        s3 = client()
        s3.head_bucket(Bucket=remote.bucket)
        files = list(_listed(_object(s3, remote, version, f"the version {version}"), remote, folder))
        with progress(len(files), "fetch", "photographs") as advance, ThreadPoolExecutor(_AT_ONCE) as pool:
            under_way = [pool.submit(_fetch, s3, remote, file) for file in files]
            try:
                for done in as_completed(under_way):
                    done.result()
                    advance(1)
            finally:
                pool.shutdown(cancel_futures=True)


def _listed(content: bytes, remote: Address, folder: Path) -> Iterator[_File]:
    try:
        listed = [(str(entry["relpath"]), entry["md5"]) for entry in json.loads(content)]
        if not all(_MD5.fullmatch(md5) for _, md5 in listed):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{remote}: the version's list of files is none of DVC's; push it again.") from None
    for name, md5 in listed:
        yield _File(inside(folder, name), name, md5)


def _fetch(s3: Any, remote: Address, file: _File) -> None:
    try:
        if _md5(file.path.read_bytes()) == file.md5:
            return
    except OSError:
        pass
    content = _object(s3, remote, file.md5, file.name)
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(file.path, content)
    except OSError as error:
        raise UserError(f"{file.path} cannot be written: {error.strerror}.") from None


def _object(s3: Any, remote: Address, md5: str, name: str) -> bytes:
    """The content of an object that is known by its MD5; `name` is what an error calls it."""
    try:
        content, _ = read(s3, remote / f"files/md5/{md5[:2]}/{md5[2:]}")
    except ClientError as error:
        if status(error) != 404:
            raise
        raise UserError(f"{remote}: it lacks {name}; push again from a clone that has it (`dvc push`).") from None
    if _md5(content) != md5.removesuffix(".dir"):
        raise UserError(
            f"{remote}: it has a damaged copy of {name} (its MD5 is not {md5}); delete that object and push again."
        )
    return content


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
