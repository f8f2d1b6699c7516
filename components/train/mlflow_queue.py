"""What a training tells MLflow as it goes, by a thread of its own: a server that is away holds no training up."""

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
"""Seconds that the end of a training waits for a server that is away."""

_HASTE = 3  # of the 30 s that Kubernetes gives, most are for the last checkpoint
_PAUSE = 2  # seconds between two tries; MLflow's client tries for some 10 itself

_log = logging.getLogger(__name__)


class Diary:
    """Entries, each a call to MLflow, in their order; one that fails is tried again until MLflow takes it."""

    def __init__(self) -> None:
        self._entries: deque[Callable[[], None]] = deque()
        self._news = threading.Condition()
        self._closing = self._given_up = False
        self._trouble: UserError | None = None
        self._thread = threading.Thread(target=self._work, name="diary to MLflow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits until MLflow has every entry, `PATIENCE` seconds; a training that ends by an exception, `_HASTE`.

        Raises:
            UserError: MLflow cannot be used, still.
        """
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(_HASTE if kind else PATIENCE)
        self._given_up = True
        left = len(self._entries)
        if left and kind:
            _log.warning("MLflow lacks the last %d entries of this attempt; history.jsonl has its rows.", left)
        elif left:
            raise self._trouble or UserError(
                f"MLflow at {connection.redacted(connection.uri())} is too slow; start again."
            )

    def write(self, entry: Callable[[], None]) -> None:
        """Has MLflow told, now or when it is back."""
        with self._news:
            self._entries.append(entry)
            self._news.notify()

    def _work(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._entries or self._closing)
                if not self._entries:
                    return
                entry = self._entries[0]
            try:
                with connection.explained():
                    entry()
            except Exception as error:  # whatever it is, training goes on
                if not self._trouble:
                    _log.warning("%s Training goes on, and what MLflow misses is told when it is back.", error)
                self._trouble = error if isinstance(error, UserError) else UserError(f"MLflow: {error}")
                if self._given_up:
                    return
                time.sleep(_PAUSE)
            else:
                if self._trouble:
                    _log.warning("MLflow is back; %d entries waited.", len(self._entries))
                self._trouble = None
                self._entries.popleft()
