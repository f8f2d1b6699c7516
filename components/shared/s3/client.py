"""Client of S3: addresses, retries, one reader and one writer of objects, errors as sentences."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

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

from components.shared.machine.first_contact import await_in_new_pod
from model.utils.errors import UserError

ERRORS = (Boto3Error, BotoCoreError, ClientError)
"""Exceptions that boto3 raises."""

READ_TIMEOUT = 20
"""Seconds that a server may be silent before the request is sent again."""

PAGE_SIZE = 1000
"""Objects in a page of a listing: the most that S3 gives."""

_SCHEME = "s3://"
_ATTEMPTS = 5
_CHUNK = 1 << 20
_CUT_SHORT = (IncompleteReadError, ResponseStreamingError, ReadTimeoutError, FlexibleChecksumError)


def is_s3(place: str | Path) -> bool:
    """Tells whether a place is an s3:// address."""
    return str(place).startswith(_SCHEME)


@dataclass(frozen=True)
class Address:
    """Names an object or a prefix in S3.

    Attributes:
        bucket: name of the bucket.
        prefix: key or prefix without slashes at its ends; may be empty.
    """

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, uri: str) -> "Address":
        """Parses s3://bucket or s3://bucket/prefix.

        Raises:
            UserError: the text has another form.
        """
        bucket, _, prefix = uri.removeprefix(_SCHEME).partition("/")
        if not is_s3(uri) or not bucket:
            raise UserError(f"{uri} is not an S3 address; give s3://bucket/prefix.")
        return cls(bucket, prefix.strip("/"))

    def __truediv__(self, name: str) -> "Address":
        return Address(self.bucket, f"{self.prefix}/{name}".lstrip("/"))

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def object(self) -> dict[str, str]:
        """Returns the arguments by which boto3 names this object."""
        return {"Bucket": self.bucket, "Key": self.prefix}


def client() -> Any:
    """Creates boto3's S3 client from AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and the like. Threads may share it.

    The first one in a pod that Kubeflow has just started waits for the server.

    Raises:
        UserError: the endpoint or the region in the environment is invalid.
    """
    retries = {"mode": "standard", "total_max_attempts": 7}  # after errors of the server and the network, with backoff
    config = Config(retries=retries, connect_timeout=5, read_timeout=READ_TIMEOUT)
    try:
        made = boto3.Session().client("s3", config=config)
    except ValueError as error:
        raise UserError(f"S3: {_one_line(error)}; correct AWS_ENDPOINT_URL_S3 or AWS_DEFAULT_REGION.") from None
    await_in_new_pod(made.meta.endpoint_url, "S3")
    return made


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """Turns an exception of boto3 into a UserError."""
    try:
        yield
    except ERRORS as error:
        raise UserError(describe_error(error, address)) from None


def describe_error(error: Exception, address: Address) -> str:
    """Formats an exception of boto3 as one sentence that says what helps."""
    if isinstance(error, Boto3Error) and isinstance(error.__context__, ClientError):
        error = error.__context__  # a failed transfer wraps the server's answer
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return f"{address}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    if isinstance(error, ParamValidationError):
        return f"{address} is not an S3 address ({_one_line(error)}); give s3://bucket/prefix."
    code = status_code(error)
    if code in (401, 403):
        return f"{address}: access refused; check AWS_ACCESS_KEY_ID and its rights to list, read, write and delete."
    if code == 404:
        return f"{address}: no such bucket or object; create the bucket {address.bucket}, or correct the address."
    if code:
        return f"{address}: S3 answers {code} ({_one_line(error)}); try again later."
    return f"{address}: S3 cannot be reached ({_one_line(error)}); check AWS_ENDPOINT_URL_S3 and the network."


def status_code(error: Exception) -> int:
    """Returns the HTTP status of a refusal, or 0 when the server did not answer."""
    answer = error.response if isinstance(error, ClientError) else {}
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def fetch(s3: Any, address: Address, file: BinaryIO, *, etag: str = "", limit: int | None = None) -> str:
    """Writes an object into a file, a chunk at a time; starts again when the connection breaks.

    Args:
        s3: result of `client`.
        address: address of the object.
        file: open for writing; the object replaces its content.
        etag: ETag of the object when it was listed. An object with another ETag, and a missing one, is requested a few
            times more before the refusal is raised.
        limit: bytes. A larger object is not downloaded: the file becomes a hole of the object's size.

    Returns:
        SHA-256 of the object in hexadecimal; "" where the object exceeds the limit.
    """
    condition = {"IfMatch": etag} if etag else {}
    attempt = 0
    while True:
        try:
            return _write_object(s3.get_object(**address.object, **condition), file, limit)
        except ERRORS as error:
            stale = etag and status_code(error) in (404, 412)
            attempt += 1
            if attempt == _ATTEMPTS or not (stale or isinstance(error, _CUT_SHORT)):
                raise
        time.sleep(2**attempt / 8)


def _write_object(answer: Any, file: BinaryIO, limit: int | None) -> str:
    file.seek(0)
    if limit is not None and answer["ContentLength"] > limit:
        answer["Body"].close()
        file.truncate(answer["ContentLength"])
        return ""
    digest = hashlib.sha256()
    for chunk in answer["Body"].iter_chunks(_CHUNK):
        digest.update(chunk)
        file.write(chunk)
    file.truncate()
    return digest.hexdigest()


def fetch_bytes(s3: Any, address: Address) -> bytes | None:
    """Returns the content of a small object, or None when the object is missing."""
    content = BytesIO()
    try:
        fetch(s3, address, content)
    except ClientError as error:
        if status_code(error) != 404:
            raise
        return None
    return content.getvalue()


def upload(s3: Any, path: Path, address: Address, transfer: TransferConfig | None = None) -> None:
    """Writes a file as an object. S3 refuses the object when its SHA-256 differs on arrival.

    Args:
        s3: result of `client`.
        path: path of the file.
        address: address of the object.
        transfer: boto3's options of the transfer; by default several threads send a large file in parts.
    """
    checksum = {"ChecksumAlgorithm": "SHA256"}
    s3.upload_file(str(path), address.bucket, address.prefix, ExtraArgs=checksum, Config=transfer)


def list_objects(s3: Any, address: Address) -> Iterator[dict[str, Any]]:
    """Yields the objects below an address as S3 lists them: Key, Size, ETag, LastModified."""
    below = f"{address.prefix}/".lstrip("/")
    pages = s3.get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=address.bucket, Prefix=below, PaginationConfig={"PageSize": PAGE_SIZE}):
        yield from page.get("Contents", [])


def safe_join(folder: Path, name: str) -> Path:
    """Joins a folder and a name that comes from outside.

    Raises:
        UserError: the name leads out of the folder.
    """
    path = folder / name
    if "\0" in name or path == folder or ".." in path.parts or not path.is_relative_to(folder):
        raise UserError(f"{name!r} leads out of the folder; nothing is fetched.")
    return path


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
