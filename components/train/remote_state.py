"""The state of a training in S3: which objects make it up, who may change it, and what may be deleted.

Below the training's address lie

    latest.json                          the attempt that writes, and the files of the newest state
    000002-4be1a0c7/<SHA-256>-<name>     a file that the second attempt has uploaded

A file is never overwritten, for its key holds the attempt and the content. latest.json alone changes, and only by
conditional writes: an attempt takes it over when it begins, and every older one is refused from then on. An object is
deleted once latest.json has ceased to name it, by the attempt that made it so or by a later one.
"""

import hashlib
import json
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from components.shared.s3.client import (
    ERRORS,
    Address,
    client,
    describe_error,
    list_objects,
    safe_join,
    status_code,
    upload,
)
from model.training.meters import HISTORY
from model.utils.errors import UserError

SCHEMA_VERSION = 1
FINISHED_STAYS = timedelta(days=1)
"""How long a finished training is kept for its output's sake."""

_LATEST, _FINISHED = "latest.json", "finished-training"
_ATTEMPT = re.compile(r"(\d{6})-[0-9a-f]{8}/")
_ONE_BY_ONE = TransferConfig(use_threads=False)  # leaves the cores to training, and no thread to wait for at the end

_log = logging.getLogger(__name__)


class Superseded(UserError):  # noqa: N818 - a UserError by what it says
    """A newer attempt writes now."""


@dataclass(frozen=True)
class Stored:
    """A file of the state: its object's key below the training's address, and its SHA-256."""

    key: str
    sha256: str


@dataclass(frozen=True)
class State:
    """What latest.json says.

    Attributes:
        attempt: that writes; of all attempts at this training, it has the greatest number.
        images: the position of the newest checkpoint; 0 before the first.
        files: by their names in the checkpoint folder.
    """

    attempt: str
    images: int = 0
    files: Mapping[str, Stored] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=2).encode()


class RemoteState:
    """The state as this attempt sees it."""

    def __init__(self, address: Address) -> None:
        """Takes the training over.

        Raises:
            UserError: latest.json cannot be read; the store ignores conditions.
        """
        self._s3, self._address = client(), address
        self._unnamed: set[str] = set()  # keys that latest.json names no more
        self._said = False
        self._s3.head_bucket(Bucket=address.bucket)
        while True:
            found, self._etag = self._read()
            self.state = State(f"{_number(found.attempt) + 1:06d}-{secrets.token_hex(4)}", found.images, found.files)
            try:
                self._replace(self.state)
                break
            except Superseded:
                continue  # another one has begun in this very moment
        self._require_conditions()
        self._s3.delete_object(**(address / _FINISHED).object)
        named = {file.key for file in self.state.files.values()}
        for entry in list_objects(self._s3, address):  # what killed attempts had not got to
            key = entry["Key"].removeprefix(f"{address.prefix}/")
            if key not in named and 0 < _number(key) < _number(self.state.attempt):
                self._unnamed.add(key)
        self._remove_unnamed()

    def publish(self, images: int, files: Mapping[str, Path]) -> None:
        """Makes these files the newest state, uploading what is not there yet.

        Raises:
            Superseded: a newer attempt has taken over.
        """
        new = State(self.state.attempt, images, {name: self._stored(name, path) for name, path in files.items()})
        if new != self.state:
            self._replace(new)
            before, now = ({file.key for file in state.files.values()} for state in (self.state, new))
            self._unnamed |= before - now
            self.state = new
        self._remove_unnamed()

    def download(self, folder: Path) -> None:
        """Fetches the newest state; warns of each file that is damaged or missing, and does without it.

        Raises:
            UserError: the history is damaged or missing; a name leads out of the folder.
        """
        whole = dict(self.state.files)
        for name, file in self.state.files.items():
            path, source = safe_join(folder, name), self._address / file.key
            aside = path.with_name(f".{path.name}.partial")
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._s3.download_file(source.bucket, source.prefix, str(aside))
                trouble = "" if _sha256(aside) == file.sha256 else "its SHA-256 differs"
            except ClientError as error:
                if status_code(error) != 404:
                    raise
                trouble = "it is missing"
            if not trouble:
                aside.replace(path)
            elif name == HISTORY:
                raise UserError(f"{source} cannot be used ({trouble}); delete all below {self._address} to begin anew.")
            else:
                _log.warning("%s cannot be used (%s); going on without %s.", source, trouble, name)
                aside.unlink(missing_ok=True)
                self._unnamed.add(whole.pop(name).key)  # the same content, made again, is uploaded again
        self.state = replace(self.state, files=whole)

    def finish(self) -> None:
        """Marks the training as finished: the next one may remove it after a while."""
        self._s3.put_object(**(self._address / _FINISHED).object)

    def remove_finished(self, root: Address) -> None:
        """Removes the trainings below `root` that were finished a while ago."""
        ours = re.compile(rf"(.*[0-9a-f]{{16}})/{_FINISHED}")
        for entry in list(list_objects(self._s3, root)):
            if (found := ours.fullmatch(entry["Key"])) and datetime.now(UTC) - entry["LastModified"] > FINISHED_STAYS:
                finished = Address(root.bucket, found[1])
                self._s3.delete_object(**(finished / _LATEST).object)  # first, so that it never names what is gone
                for below in list_objects(self._s3, finished):
                    self._s3.delete_object(Bucket=root.bucket, Key=below["Key"])

    def _read(self) -> tuple[State, str]:
        """What latest.json says, and its ETag, which is empty where there is none yet."""
        latest = self._address / _LATEST
        try:
            answer = self._s3.get_object(**latest.object)
            content, etag = answer["Body"].read(), answer["ETag"]
        except ClientError as error:
            if status_code(error) != 404:
                raise
            return State(attempt=""), ""
        try:
            said = json.loads(content)
            if said.pop("schema_version") != SCHEMA_VERSION:
                raise ValueError("another schema_version")
            said["files"] = {name: Stored(**file) for name, file in said["files"].items()}
            return State(**said), etag
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{latest} cannot be used ({error}); delete all below {self._address}.") from None

    def _replace(self, new: State) -> None:
        """Writes latest.json if nobody else has since this attempt last saw it."""
        for _ in range(3):
            condition = {"IfMatch": self._etag} if self._etag else {"IfNoneMatch": "*"}
            try:
                answer = self._s3.put_object(**(self._address / _LATEST).object, Body=new.to_json(), **condition)
                self._etag = answer["ETag"]
                return
            except ClientError as error:
                if status_code(error) not in (404, 409, 412):  # gone, being written, not as expected
                    raise
                refusal = error
            found, self._etag = self._read()
            if found == new:
                return  # it had been written, and the answer got lost
            if found.attempt != new.attempt:
                what = f"another attempt, {found.attempt}, has taken over" if self._etag else "it has been deleted"
                raise Superseded(f"{self._address}: {what}; this attempt at the training, {new.attempt}, ends.")
        raise refusal

    def _require_conditions(self) -> None:
        try:
            latest = (self._address / _LATEST).object
            self._s3.put_object(**latest, Body=self.state.to_json(), IfNoneMatch="*")  # it does exist
        except ClientError as error:
            if status_code(error) not in (409, 412):
                raise
            return
        raise UserError(
            f"{self._address}: this S3 server ignores conditions (If-None-Match), so a trainer that was thought dead "
            "could overwrite a newer checkpoint; use one that has conditional writes, or a folder."
        )

    def _remove_unnamed(self) -> None:
        """Deletes what latest.json names no more. What cannot be deleted takes up space and does no other harm: it is
        said once, and tried again after the next state."""
        try:
            while self._unnamed:
                key = next(iter(self._unnamed))
                self._s3.delete_object(**(self._address / key).object)
                self._unnamed.remove(key)
        except ERRORS as error:
            if not self._said:
                what = "The newest checkpoint is in S3, but older ones cannot be deleted and take up space"
                _log.warning("%s: %s", what, describe_error(error, self._address))
            self._said = True

    def _stored(self, name: str, path: Path) -> Stored:
        sha256 = _sha256(path)
        known = self.state.files.get(name)
        if known and known.sha256 == sha256:
            return known
        file = Stored(f"{self.state.attempt}/{sha256[:16]}-{Path(name).name}", sha256)
        upload(self._s3, path, self._address / file.key, _ONE_BY_ONE)
        return file


def _number(attempt: str) -> int:
    return int(found[1]) if (found := _ATTEMPT.match(f"{attempt}/")) else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
