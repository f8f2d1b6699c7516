"""A checkpoint folder that is kept in S3 too, so that a training whose node is lost goes on on another one."""

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from components.shared.s3.client import ERRORS, Address, describe_error, explained
from components.train.remote_state import RemoteState, Superseded
from model.training.checkpoint import checkpoints
from model.training.meters import HISTORY
from model.utils.errors import Interrupted

GRACE_SECONDS = 20
"""How long the end of a training waits for the last upload: of Kubernetes' 30 s, what MLflow leaves."""

_SNAPSHOT = ".upload-"
_LONGEST_PAUSE = 60  # seconds between two tries

_log = logging.getLogger(__name__)


class RemoteCheckpoints:
    """Brings the folder's newest state from S3 at the beginning, and every later one there, by a thread of its own.

    At most one upload is under way; of the states that wait, the newest wins. Training waits for none of them but the
    last. Errors are logged and tried again for as long as training goes on.
    """

    def __init__(self, root: Address, folder: Path) -> None:
        """
        Args:
            root: of all trainings' checkpoints; this one's lie below it, under the folder's name.
            folder: of this training's checkpoints; made when missing.
        """
        self._root, self._address, self._folder = root, root / folder.name, folder
        self._news = threading.Condition()
        self._waiting: tuple[int, Path] | None = None
        self._closing = self._given_up = False
        self._newest = 0
        self._trouble = "the upload is under way"
        self._pause = 1.0  # seconds until the next try
        self._superseded: Superseded | None = None
        self._thread = threading.Thread(target=self._work, name="checkpoints to S3", daemon=True)

    def __enter__(self) -> Self:
        """Takes the training over from earlier attempts; what S3 has replaces a folder that is not as far.

        Raises:
            UserError: S3 refuses or cannot be reached; see `RemoteState`.
        """
        with explained(self._address):
            self._remote = RemoteState(self._address)
            self._remote.remove_finished(self._root)
            here = max((int(path.stem.rpartition("-")[2]) for path in checkpoints(self._folder)), default=0)
            if self._remote.state.images > here:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._remote.download(self._folder)
        for leftover in self._folder.glob(f"{_SNAPSHOT}*"):
            shutil.rmtree(leftover)
        self._newest = self._remote.state.images
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for the last upload, `GRACE_SECONDS` at most, and says what S3 has."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(GRACE_SECONDS)
        self._given_up = True
        if isinstance(error, Interrupted):
            raise Interrupted(f"{error}; {self._standing()}") from None
        if self._remote.state.images < self._newest:
            _log.warning("%s.", self._standing())
        elif kind is None and not self._thread.is_alive():
            try:
                self._remote.finish()
            except ERRORS as failure:
                _log.warning("It is not marked as finished: %s", describe_error(failure, self._address))

    def check(self) -> None:
        """
        Raises:
            Superseded: a newer attempt has taken over.
        """
        if self._superseded:
            raise self._superseded

    def save(self, images: int) -> None:
        """Has the folder, as it is now, uploaded as the state after so many images.

        Raises:
            Superseded: as `check`.
        """
        self.check()
        snapshot = self._folder / f"{_SNAPSHOT}{images}"
        for path in list(_files(self._folder)):
            copy = snapshot / path.relative_to(self._folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.name == HISTORY:
                shutil.copyfile(path, copy)  # it grows
            else:
                os.link(path, copy)  # stays when training removes the other
        with self._news:
            outrun, self._waiting, self._newest = self._waiting, (images, snapshot), images
            self._news.notify()
        if outrun:
            shutil.rmtree(outrun[1])

    def _work(self) -> None:
        while job := self._next():
            images, snapshot = job
            try:
                self._remote.publish(images, {str(path.relative_to(snapshot)): path for path in _files(snapshot)})
            except Superseded as error:
                self._superseded, self._trouble = error, str(error)
                return
            except Exception as error:  # whatever it is, training goes on
                self._trouble = describe_error(error, self._address)
                self._try_again(job)
            else:
                self._pause = 1.0
                shutil.rmtree(snapshot)

    def _next(self) -> tuple[int, Path] | None:
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closing)
            job, self._waiting = self._waiting, None
            return job

    def _try_again(self, job: tuple[int, Path]) -> None:
        """Puts a job back unless a newer one waits, and pauses; a newer one or the end cuts that short."""
        if self._given_up:
            return
        _log.warning("The checkpoint of %d images is not in S3 yet: %s", job[0], self._trouble)
        with self._news:
            outrun = job if self._waiting else None
            self._waiting = self._waiting or job
            if not outrun:
                called = self._news.wait(1.0 if self._closing else self._pause)
                self._pause = 1.0 if called else min(2 * self._pause, _LONGEST_PAUSE)
        if outrun:
            shutil.rmtree(outrun[1])

    def _standing(self) -> str:
        there = self._remote.state.images
        standing = f"{self._address} has the checkpoint of {there} images" if there else f"{self._address} has none yet"
        return standing + (f", not that of {self._newest}: {self._trouble}" if there < self._newest else "")


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder but hidden ones, the folder's own name aside."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path
