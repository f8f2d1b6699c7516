"""Queue of writes to MLflow that a background thread sends during a training."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from components.shared.mlflow import connection
from model.utils.errors import UserError

PATIENCE = 120
"""Seconds that the end of a training waits for an unreachable server."""

_PATIENCE_ON_FAILURE = 3  # seconds; of the 30 s that Kubernetes gives, most are for the last checkpoint
_PAUSE = 2  # seconds between two attempts; MLflow's client retries for some 10 s itself

_log = logging.getLogger(__name__)


class MlflowQueue:
    """Sends writes to MLflow from a background thread, so that an unreachable server does not block training.

    Writes keep their order; one that fails is repeated until MLflow accepts it.
    """

    def __init__(self) -> None:
        self._writes: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closing = self._given_up = False
        self._error: UserError | None = None
        self._thread = threading.Thread(target=self._work, name="writes to MLflow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits `PATIENCE` seconds at most until MLflow has every write, or 3 s when the block ended by an exception.

        Raises:
            UserError: MLflow still cannot be used.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_PATIENCE_ON_FAILURE if kind else PATIENCE)
        self._given_up = True
        left = len(self._writes)
        if left and kind:
            _log.warning("MLflow lacks the last %d writes of this attempt; history.jsonl has its rows.", left)
        elif left:
            raise self._error or UserError(
                f"MLflow at {connection.shown_uri()} is too slow; run the same command again."
            )

    def write(self, call: Callable[[], None]) -> None:
        """Adds a call that writes to MLflow."""
        with self._changed:
            self._writes.append(call)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._writes or self._closing)
                if not self._writes:
                    return
                call = self._writes[0]
            try:
                with connection.explained():
                    call()
            except Exception as error:  # whatever it is, training continues
                if not self._error:
                    _log.warning("%s Training continues; queued writes are sent when MLflow is reachable again.", error)
                self._error = error if isinstance(error, UserError) else UserError(f"MLflow: {error}")
                if self._given_up:
                    return
                time.sleep(_PAUSE)
            else:
                if self._error:
                    _log.warning("MLflow is reachable again; sending %d queued writes.", len(self._writes))
                self._error = None
                self._writes.popleft()
