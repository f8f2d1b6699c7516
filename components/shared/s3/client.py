"""S3 as the steps use it: addresses, a client from the environment, and what goes wrong as a sentence."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from model.utils.errors import UserError

ERRORS = (Boto3Error, BotoCoreError, ClientError)
"""What boto3 raises."""

ANSWER_SECONDS = 20
"""How long a server may be silent before it is asked again."""

PAGE = 1000
"""Objects in a page of a listing: the most that S3 gives."""

Result = TypeVar("Result")

_SCHEME = "s3://"
_READS = 5
_PIECE = 1 << 20
_CUT_SHORT = (IncompleteReadError, ResponseStreamingError, ReadTimeoutError, FlexibleChecksumError)


def is_s3(place: str | Path) -> bool:
    return str(place).startswith(_SCHEME)


@dataclass(frozen=True)
class Address:
    """A place in S3: a bucket, and a prefix without slashes at its ends, or an empty one."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, uri: str) -> "Address":
        """
        Raises:
            UserError: not of the form s3://bucket or s3://bucket/prefix.
        """
        bucket, _, prefix = uri.removeprefix(_SCHEME).partition("/")
        if not is_s3(uri) or not bucket:
            raise UserError(f"{uri} is no address in S3; give s3://bucket/prefix.")
        return cls(bucket, prefix.strip("/"))

    def __truediv__(self, name: str) -> "Address":
        return Address(self.bucket, f"{self.prefix}/{name}".lstrip("/"))

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def object(self) -> dict[str, str]:
        """The arguments by which boto3 names the object that lies here."""
        return {"Bucket": self.bucket, "Key": self.prefix}


def client() -> Any:
    """boto3's client of S3; it reads AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and the like. Threads may share it.

    Raises:
        UserError: the address in the environment is none.
    """
    retries = {"mode": "standard", "total_max_attempts": 7}  # after errors of the server and the network, with backoff
    config = Config(retries=retries, connect_timeout=5, read_timeout=ANSWER_SECONDS)
    try:
        return boto3.Session().client("s3", config=config)
    except ValueError as error:
        raise UserError(f"S3: {_line(error)}; correct AWS_ENDPOINT_URL_S3 or AWS_DEFAULT_REGION.") from None


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """Turns what boto3 raises inside into a UserError."""
    try:
        yield
    except ERRORS as error:
        raise UserError(sentence(error, address)) from None


def sentence(error: Exception, address: Address) -> str:
    """What went wrong, and what to do about it."""
    if isinstance(error, Boto3Error) and isinstance(error.__context__, ClientError):
        error = error.__context__  # of a transfer that was given up
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return f"{address}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    if isinstance(error, ParamValidationError):
        return f"{address} is no address in S3 ({_line(error)}); give s3://bucket/prefix."
    code = status(error)
    if code in (401, 403):
        return f"{address}: access refused; check AWS_ACCESS_KEY_ID and its rights to list, read, write and delete."
    if code == 404:
        return f"{address}: no such bucket or object; create the bucket {address.bucket}, or correct the address."
    if code:
        return f"{address}: S3 answers {code} ({_line(error)}); try again later."
    return f"{address}: S3 cannot be reached ({_line(error)}); check AWS_ENDPOINT_URL_S3 and the network."


def status(error: Exception) -> int:
    """The HTTP status of an answer that says no; 0 where there was no answer."""
    answer = error.response if isinstance(error, ClientError) else {}
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def read(s3: Any, address: Address) -> tuple[bytes, str]:
    """An object's content and its ETag; what breaks off on the way is read anew."""

    def once() -> tuple[bytes, str]:
        answer = s3.get_object(**address.object)
        return answer["Body"].read(), answer["ETag"]

    return _again(once)


def download(s3: Any, address: Address, file: BinaryIO) -> str:
    """Writes an object into a file, a piece at a time; returns its SHA-256. What breaks off is begun anew."""

    def once() -> str:
        digest = hashlib.sha256()
        file.seek(0)
        for piece in s3.get_object(**address.object)["Body"].iter_chunks(_PIECE):
            digest.update(piece)
            file.write(piece)
        file.truncate()
        return digest.hexdigest()

    return _again(once)


def upload(s3: Any, path: Path, address: Address, transfer: TransferConfig | None = None) -> None:
    """Writes a file as an object; S3 refuses it where its SHA-256 is another on arrival.

    Args:
        s3: of `client`.
        path: of the file.
        address: the object's.
        transfer: how it is sent; by several threads when not given.
    """
    checksum = {"ChecksumAlgorithm": "SHA256"}
    s3.upload_file(str(path), address.bucket, address.prefix, ExtraArgs=checksum, Config=transfer)


def save(s3: Any, address: Address, path: Path, *, etag: str = "", limit: int | None = None) -> None:
    """Writes an object into a file, a piece at a time; what breaks off is begun anew.

    Args:
        s3: of `client`.
        address: the object's.
        path: overwritten.
        etag: that the object had when it was listed. One that has another, or is gone, is looked for a few times more.
        limit: bytes; of a larger object the file gets the size, as a hole, and not the content.
    """

    def once() -> None:
        answer = s3.get_object(**address.object, **({"IfMatch": etag} if etag else {}))
        with path.open("wb") as file:
            if limit is not None and answer["ContentLength"] > limit:
                file.truncate(answer["ContentLength"])
                answer["Body"].close()
                return
            for piece in answer["Body"].iter_chunks(_PIECE):
                file.write(piece)

    _again(once, (404, 412) if etag else ())


def _again(once: Callable[[], Result], statuses: tuple[int, ...] = ()) -> Result:
    """What breaks off, or is answered with such a status, is tried again a few times."""
    for attempt in range(_READS - 1):
        try:
            return once()
        except ERRORS as error:
            if not isinstance(error, _CUT_SHORT) and status(error) not in statuses:
                raise
        time.sleep(2**attempt / 4)
    return once()


def keys(s3: Any, address: Address) -> Iterator[dict[str, Any]]:
    """All objects below an address, as S3 lists them: Key, Size, ETag, LastModified."""
    below = f"{address.prefix}/".lstrip("/")
    pages = s3.get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=address.bucket, Prefix=below, PaginationConfig={"PageSize": PAGE}):
        yield from page.get("Contents", [])


def inside(folder: Path, name: str) -> Path:
    """Where a file of that name lies in a folder.

    Raises:
        UserError: the name leads out of the folder.
    """
    path = folder / name
    if "\0" in name or path == folder or ".." in path.parts or not path.is_relative_to(folder):
        raise UserError(f"{name!r} leads out of the folder that it is listed for; nothing of it is fetched.")
    return path


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
