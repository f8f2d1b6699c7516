"""Photographs in S3, read object by object: a version in a DVC remote, or whatever lies below a plain prefix.

A prefix is a DVC remote when objects lie below files/md5/ in it, as `dvc push` puts them; neither git nor DVC is
needed. Of a plain one, the version is a hash of its listing.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from botocore.exceptions import ClientError

from components.shared.photos.folder import digest
from components.shared.photos.listing import LATEST, Listed, hidden
from components.shared.s3.client import (
    Address,
    client,
    explained,
    fetch,
    fetch_bytes,
    list_objects,
    safe_join,
    status_code,
)
from model.utils.errors import UserError

_MD5 = re.compile(r"[0-9a-f]{32}")


class Remote:
    """Reads photographs from S3. Every method raises a UserError if S3 refuses or cannot be reached.

    Args:
        root: prefix of a DVC remote or of photographs.
        scratch: folder for the few objects that are being read.
    """

    def __init__(self, root: Address, scratch: Path) -> None:
        self._root, self._scratch = root, scratch
        self._s3 = client()

    def latest(self) -> str:
        """Returns the version that `LATEST` stands for.

        Raises:
            UserError: no version was published, or the prefix is empty.
        """
        with explained(self._root):
            if not self._is_dvc():
                return _version(self._plain())
            if (version := fetch_bytes(self._s3, self._root / LATEST)) is not None:
                return version.decode().strip()
        raise UserError(f"{self._root}: no version was published there; `colorize data publish` does that.")

    def listed(self, version: str) -> list[Listed]:
        """Lists every file of a version that is not hidden.

        Args:
            version: MD5 in a .dvc file (it ends in .dir), or the result of `latest` for a plain prefix.

        Raises:
            UserError: the remote lacks the version or has it damaged; the prefix now holds something else; a name leads
                out of the folder.
        """
        with explained(self._root):
            self._s3.head_bucket(Bucket=self._root.bucket)
            if self._is_dvc():
                return list(self._tracked(version))
            found = self._plain()
        if version != (now := _version(found)):
            raise UserError(
                f"{self._root} holds {now}, not {version or 'an empty text'}: photographs were added, changed or "
                f"removed; give the version {LATEST}, or start again."
            )
        return found

    def reason_to_skip(self, file: Listed) -> str:
        """Returns an empty text: every object may be opened."""
        return ""

    def identity(self, file: Listed) -> str:
        """Returns what identifies the content without reading it: the MD5 in its name, or ETag and size."""
        return file.md5 or f"{file.etag} {file.size}"

    def unchanged(self, identity: str, sha256: str) -> bool:
        """Tells whether a file with this identity still has the content of this SHA-256."""
        return bool(sha256)

    def fetch(self, file: Listed, number: int, limit: int | None = None) -> Path:
        """Fetches a file into the scratch folder; threads may do so at once, with numbers of their own.

        Of one of more than `limit` bytes it brings the size alone.

        Raises:
            UserError: it is missing, damaged, or another than was listed.
        """
        path = self._scratch / str(number)
        address = self._root / (_object(file.md5) if file.md5 else file.path)
        try:
            with explained(address):
                try:
                    with path.open("wb") as out:
                        fetch(self._s3, address, out, etag=file.etag, limit=limit)
                except ClientError as error:
                    if status_code(error) not in (404, 412):
                        raise
                    raise UserError(self._lacks(file, address, status_code(error))) from None
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from None
        whole = limit is None or path.stat().st_size <= limit
        if file.md5 and whole and digest(path, "md5") != file.md5:
            raise UserError(self._damaged(file.path, file.md5))
        return path

    def discard(self, path: Path) -> None:
        """Removes what `fetch` gave."""
        path.unlink()

    def _is_dvc(self) -> bool:
        found = self._s3.list_objects_v2(Bucket=self._root.bucket, Prefix=(self._root / "files/md5/").prefix, MaxKeys=1)
        return bool(found["KeyCount"])

    def _tracked(self, version: str) -> Iterator[Listed]:
        if not _MD5.fullmatch(version.removesuffix(".dir")) or not version.endswith(".dir"):
            raise UserError(
                f"{version or 'an empty text'} is no version of a folder; give the md5 that data.dvc names."
            )
        name = f"the version {version}"
        content = fetch_bytes(self._s3, self._root / _object(version))
        if content is None:
            raise UserError(self._lacks(Listed(name, version), self._root, 404))
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != version.removesuffix(".dir"):
            raise UserError(self._damaged(name, version))
        try:
            listed = [Listed(str(entry["relpath"]), entry["md5"]) for entry in json.loads(content)]
            if not all(_MD5.fullmatch(file.md5) for file in listed):
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{self._root}: the version's list of files is none of DVC's; push it again.") from None
        return self._seen(listed)

    def _plain(self) -> list[Listed]:
        below = f"{self._root.prefix}/".lstrip("/")
        files = [
            Listed(entry["Key"].removeprefix(below), etag=entry["ETag"], size=entry["Size"])
            for entry in list_objects(self._s3, self._root)
            if not entry["Key"].endswith("/")  # a browser's folder
        ]
        if not files:
            raise UserError(f"{self._root}: nothing is there; give the prefix of photographs, or of a DVC remote.")
        return sorted(self._seen(files), key=lambda file: file.path)

    def _seen(self, files: list[Listed]) -> Iterator[Listed]:
        for file in files:
            safe_join(Path("/photographs"), file.path)
            if not hidden(file.path):
                yield file

    def _lacks(self, file: Listed, address: Address, code: int) -> str:
        if file.md5:
            return f"{self._root}: it lacks {file.path}; push again from a clone that has it (`dvc push`)."
        what = "vanished" if code == 404 else "changed"
        return (
            f"{address} {what} after the photographs were listed; put it back, or start again with what is there now."
        )

    def _damaged(self, name: str, md5: str) -> str:
        return (
            f"{self._root}: it has a damaged copy of {name} (its MD5 is not {md5}); delete that object and push again."
        )


def _object(md5: str) -> str:
    return f"files/md5/{md5[:2]}/{md5[2:]}"


def _version(files: list[Listed]) -> str:
    listing = hashlib.sha256()
    for file in files:
        listing.update(f"{json.dumps([file.path, file.size, file.etag])}\n".encode())
    return f"{listing.hexdigest()[:32]}.s3"  # 36 characters are the most that MLflow takes
