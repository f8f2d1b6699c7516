"""Models that the server holds in memory. It follows the registry's aliases, so a promotion is live within seconds."""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch

from components.shared.mlflow import registry
from model.inference.colorizer import LONGEST_ASPECT, Colorizer, Input
from model.utils.errors import UserError

SECONDS = 10.0
"""Seconds between two polls of the registry. With loading, a promotion is live well within 30 s."""

_log = logging.getLogger(__name__)


class NoVersionError(UserError):
    """Raised if an alias names no version."""


class NotReadyError(UserError):
    """Raised if a version is not available now and may be later."""


class Served(NamedTuple):
    """Holds a version in memory."""

    number: int
    weights_sha256: str
    colorizer: Colorizer


class ServedModels:
    """Holds the loaded version of each alias and polls the registry for changes.

    It follows `champion` from the start and every other alias from its first request. A new version replaces the old
    one after its files match their checksum and it has colored test pictures. If that fails, or the registry cannot
    be reached, the old version stays. A removed alias is no longer served. A request keeps the version that it began
    with.
    """

    def __init__(self, prepare: Callable[[], None], seconds: float = SECONDS) -> None:
        """
        Args:
            prepare: registers the first version if needed; called before the first poll, until it succeeds once.
            seconds: time between two polls of the registry.
        """
        self.failures = 0
        """Number of polls that could not load the version of an alias."""
        self._problem = "the model is loading"
        self._prepare: Callable[[], None] | None = prepare
        self._seconds = seconds
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._served: dict[str, Served] = {}
        self._followed = {"champion"}
        self._loading = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="aliases", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=5)  # a registry that hangs does not block the end

    def served(self) -> dict[str, Served]:
        """Returns the loaded versions by alias."""
        return dict(self._served)

    async def get(self, alias: str) -> Served:
        """Returns the version of an alias; loads it first, in a second or more, if the alias is new.

        Raises:
            NoVersionError: the alias names no version.
            NotReadyError: the champion is not loaded yet, the version's files are missing or damaged, or MLflow cannot
                be reached.
        """
        if alias not in self._served and alias != "champion":
            try:
                await asyncio.to_thread(self._refresh, alias)
            except NoVersionError:
                raise
            except UserError as error:
                raise NotReadyError(str(error)) from error
            self._followed.add(alias)
        if alias not in self._served:
            raise NotReadyError(self._problem)
        return self._served[alias]

    def _follow(self) -> None:
        torch.set_num_threads(1)
        while not self._ended.is_set():
            for alias in sorted(self._followed):
                try:
                    if self._prepare:
                        self._prepare()
                        self._prepare = None
                    self._refresh(alias)
                except Exception as error:  # the version in memory stays in service, unless its alias was removed
                    if isinstance(error, NoVersionError) and alias != "champion":
                        self._followed.discard(alias)
                        continue
                    self.failures += 1
                    self._problem = str(error) if isinstance(error, UserError) else "the model cannot be loaded"
                    _log.warning("%s: %s", alias, error, exc_info=not isinstance(error, UserError))
            self._ended.wait(self._seconds)

    def _refresh(self, alias: str) -> None:
        with self._loading:
            version = registry.by_alias(alias)
            if version is None:
                if self._served.pop(alias, None):
                    _log.info("%s is served no longer: its alias was removed", alias)
                raise NoVersionError(f"No version has the alias {alias} yet.")
            before = self._served.get(alias)
            if before and before.number == version.number:
                return
            same = (one for one in self._served.values() if one.weights_sha256 == version.weights_sha256)
            found = next(same, None)
            colorizer = found.colorizer if found else self._load(version)
            self._served[alias] = Served(version.number, version.weights_sha256, colorizer)
            _log.info("%s is version %d", alias, version.number)

    def _load(self, version: registry.Version) -> Colorizer:
        return _warm(Colorizer.load(registry.fetch(version.uri), self._device))


def _warm(colorizer: Colorizer) -> Colorizer:
    """Has a model color a picture, and its network see two of the longest: what they take is then the most it needs."""
    colorizer.colorize(np.full((64, 64, 3), 128, dtype=np.uint8))
    longest = Input(
        torch.full((1, colorizer.size, LONGEST_ASPECT * colorizer.size), 50.0, device=colorizer.device), 0, -1
    )
    colorizer.predict_together([longest, longest])
    return colorizer


class ServedFolder(ServedModels):
    """Serves a generator folder in place of the registry, as champion with the number 0."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            UserError: the folder holds no generator or a damaged one.
        """
        super().__init__(lambda: None)
        colorizer = _warm(Colorizer.load(folder, self._device))
        self._served = {"champion": Served(0, registry.checksum(folder) or "", colorizer)}

    def _follow(self) -> None:
        """Does nothing: a folder has no aliases to follow."""

    def _refresh(self, alias: str) -> None:
        raise NoVersionError(f"The server serves a folder, not the registry; it has no {alias}.")
