"""Checkpoints in S3: a copy of a training's folder, so that the training resumes when its node is lost.

Below the training's address lies one object for each of the last two checkpoints, under the file's name. An object
appears whole and holds all that a training needs to resume, with its SHA-256. All attempts at a training have the same
configuration, data and code, so an attempt that was thought dead can write valid checkpoints only.
"""

import logging
import os
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from boto3.s3.transfer import TransferConfig

from components.shared.s3.client import (
    ERRORS,
    Address,
    client,
    describe_error,
    explained,
    fetch_bytes,
    list_objects,
    upload,
)
from components.shared.s3.folders import delete_folder
from model.training.checkpoint import Checkpoint, newest_checkpoint
from model.utils.errors import Interrupted
from model.utils.files import write_aside

GRACE_SECONDS = 20
"""Seconds that the end of a training waits for the last upload: Kubernetes gives 30, and MLflow takes some."""

FINISHED_STAYS = timedelta(days=1)
"""Time for which the checkpoints of a finished training stay, in case its output is lost."""

_CHECKPOINT = re.compile(r"checkpoint-\d{12}\.safetensors")
_FINISHED = "finished-training"  # an empty object beside the checkpoints
_KEPT = 2
_LONGEST_PAUSE = 60  # seconds between two tries
_ONE_BY_ONE = TransferConfig(use_threads=False)  # leaves the cores to training, and no thread to wait for at the end
_UPLOAD = ".upload-"  # a link to a checkpoint: it stays readable when training removes the checkpoint

_log = logging.getLogger(__name__)


class RemoteCheckpoints:
    """Fetches the newest checkpoint when a training starts, and uploads each later one in a thread.

    At most one upload runs at a time; of the checkpoints that wait, the newest is next. Errors are logged, and the
    upload is tried again for as long as training runs.
    """

    def __init__(self, root: Address, folder: Path) -> None:
        """
        Args:
            root: prefix of all trainings; this one's address is below it, under the folder's name.
            folder: folder of the training's checkpoints; made when missing.
        """
        self._root, self._address, self._folder = root, root / folder.name, folder
        self._saved = 0  # images of the newest checkpoint in S3
        self._newest = 0  # images of the newest checkpoint
        self._waiting: Path | None = None
        self._closing = self._given_up = self._warned = False
        self._trouble = "the upload is under way"
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="checkpoints to S3", daemon=True)

    def __enter__(self) -> Self:
        """Fetches the newest whole checkpoint, unless the folder has a newer one.

        Raises:
            UserError: S3 refuses or cannot be reached; a checkpoint is of a schema that this version does not know.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob(f"{_UPLOAD}*"):
            leftover.unlink()
        with explained(self._address):
            self._s3 = client()
            self._s3.head_bucket(Bucket=self._root.bucket)
            self._s3.delete_object(**(self._address / _FINISHED).object)
            self._remove_finished()
            self._fetch_newest()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits `GRACE_SECONDS` at most for the last upload, and says which checkpoint S3 has."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(GRACE_SECONDS)
        self._given_up = True
        if isinstance(error, Interrupted):
            raise Interrupted(f"{error}; {self._standing()}") from None
        if self._saved < self._newest:
            _log.warning("%s.", self._standing())
        elif kind is None and not self._thread.is_alive():
            try:
                self._s3.put_object(**(self._address / _FINISHED).object)
            except ERRORS as failure:
                _log.warning("The training is not marked as finished: %s", describe_error(failure, self._address))

    def save(self, path: Path) -> None:
        """Has a checkpoint uploaded, which training may remove meanwhile."""
        link = path.with_name(f"{_UPLOAD}{path.name}")
        with self._changed:
            os.link(path, link)
            self._waiting, outrun = link, self._waiting
            self._newest = _images(link.name)
            if outrun:
                outrun.unlink()
            self._changed.notify()

    def _work(self) -> None:
        pause = 1.0  # seconds until the next try
        while link := self._next():
            name = link.name.removeprefix(_UPLOAD)
            try:
                upload(self._s3, link, self._address / name, _ONE_BY_ONE)
            except Exception as error:  # whatever it is, training goes on
                self._trouble = describe_error(error, self._address)
                if self._given_up:
                    return
                _log.warning("The checkpoint of %d images is not in S3 yet: %s", _images(name), self._trouble)
                self._put_back(link, pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._saved, pause = _images(name), 1.0
                link.unlink(missing_ok=True)
                self._remove_old()

    def _next(self) -> Path | None:
        """Takes the checkpoint that waits; waits for one until the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            link, self._waiting = self._waiting, None
            return link

    def _put_back(self, link: Path, pause: float) -> None:
        """Has a checkpoint wait again unless a newer one waits, and pauses; a newer one or the end cuts that short."""
        with self._changed:
            if self._waiting:
                link.unlink(missing_ok=True)
            else:
                self._waiting = link
                self._changed.wait(1.0 if self._closing else pause)

    def _fetch_newest(self) -> None:
        here = newest_checkpoint(self._folder)
        for address in self._listed():
            name = address.prefix.rpartition("/")[2]
            if not here or _images(name) > here.images:
                content = fetch_bytes(self._s3, address)
                try:
                    Checkpoint.from_bytes(content or b"", str(address))
                except ValueError as error:
                    trouble = "it is missing" if content is None else error
                    _log.warning("%s cannot be used (%s); resuming from the one before.", address, trouble)
                    continue
                write_aside(self._folder / name, content or b"")
            self._saved = self._newest = _images(name)
            return

    def _listed(self) -> list[Address]:
        """Lists the checkpoints in S3, newest first."""
        below = f"{self._address.prefix}/"
        names = [entry["Key"].removeprefix(below) for entry in list_objects(self._s3, self._address)]
        return [self._address / name for name in sorted(filter(_CHECKPOINT.fullmatch, names), reverse=True)]

    def _remove_old(self) -> None:
        """Removes all but the last two. An object that cannot be deleted takes up space and does no other harm."""
        try:
            for address in self._listed()[_KEPT:]:
                self._s3.delete_object(**address.object)
        except ERRORS as error:
            if not self._warned:
                trouble = "The newest checkpoint is in S3, but older ones cannot be deleted and take up space"
                _log.warning("%s: %s", trouble, describe_error(error, self._address))
            self._warned = True

    def _remove_finished(self) -> None:
        """Removes the trainings that were finished a while ago; their mark goes last, as keys are listed in order."""
        for entry in list(list_objects(self._s3, self._root)):
            folder = Address(self._root.bucket, entry["Key"].removesuffix(f"/{_FINISHED}"))
            finished = re.search(rf"[0-9a-f]{{16}}/{_FINISHED}$", entry["Key"])
            if finished and datetime.now(UTC) - entry["LastModified"] > FINISHED_STAYS:
                delete_folder(folder)

    def _standing(self) -> str:
        standing = f"{self._address} has " + (f"the checkpoint of {self._saved} images" if self._saved else "none yet")
        return standing + (f", not that of {self._newest}: {self._trouble}" if self._saved < self._newest else "")


def _images(name: str) -> int:
    """Returns the position in the name of a checkpoint."""
    return int(name.removesuffix(".safetensors").rpartition("-")[2])
