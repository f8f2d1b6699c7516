"""The models that aliases name, followed: a promotion or a rollback is in service within seconds."""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch

from components.shared.mlflow import registry
from model.inference.colorizer import Colorizer
from model.utils.errors import UserError

SECONDS = 10.0
"""Between two looks at the registry: with loading, a promotion is followed well within 30 s."""

_log = logging.getLogger(__name__)


class NoVersionError(UserError):
    """An alias names no version."""


class NotReadyError(UserError):
    """A version cannot be had now; later perhaps."""


class Served(NamedTuple):
    """A version in memory."""

    number: int
    weights_sha256: str
    colorizer: Colorizer


class Aliases:
    """Versions by alias. `champion` is followed from the start, the others once they have been asked for.

    A version takes over when its files match their checksum and it has colored a picture; until then, and where that
    fails or the registry cannot be reached, the one before stays. Requests keep the version they began with.
    """

    def __init__(self, prepare: Callable[[], None], seconds: float = SECONDS) -> None:
        """
        Args:
            prepare: is called until it succeeds once, before the first look: registers what there is to begin with.
            seconds: between two looks at the registry.
        """
        self.failures = 0
        """Looks that could not bring what an alias names."""
        self._problem = "the model is being loaded"
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
        self._thread.join(timeout=5)  # where the registry hangs, it is not waited for

    def served(self) -> dict[str, Served]:
        """What each alias stands for now, of those that are loaded."""
        return dict(self._served)

    async def get(self, alias: str) -> Served:
        """The version in memory; another than the champion may first be fetched, which takes a second or more.

        Raises:
            NoVersionError: the alias names nothing.
            NotReadyError: the champion is not loaded yet; another's files are missing or damaged; MLflow cannot be
                reached.
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
                except Exception as error:  # whatever it is, the version of before goes on serving
                    self.failures += 1
                    self._problem = str(error) if isinstance(error, UserError) else "the model cannot be loaded"
                    _log.warning("%s: %s", alias, error, exc_info=not isinstance(error, UserError))
            self._ended.wait(self._seconds)

    def _refresh(self, alias: str) -> None:
        with self._loading:
            version = registry.by_alias(alias)
            if version is None:
                raise NoVersionError(f"There is no {alias} yet.")
            before = self._served.get(alias)
            if before and before.number == version.number:
                return
            same = (one for one in self._served.values() if one.weights_sha256 == version.weights_sha256)
            found = next(same, None)
            colorizer = found.colorizer if found else self._load(version)
            self._served[alias] = Served(version.number, version.weights_sha256, colorizer)
            _log.info("%s is version %d", alias, version.number)

    def _load(self, version: registry.Version) -> Colorizer:
        colorizer = Colorizer.load(registry.fetch(version.uri), self._device)
        colorizer.colorize(np.full((64, 64, 3), 128, dtype=np.uint8))
        return colorizer


class Pinned(Aliases):
    """A generator folder in place of the registry: it is the champion, its number is 0, and it stays."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            UserError: the folder holds no generator, or a damaged one.
        """
        super().__init__(lambda: None)
        colorizer = Colorizer.load(folder, self._device)
        self._served = {"champion": Served(0, registry.checksum(folder) or "", colorizer)}

    def _follow(self) -> None:
        """There is nothing to follow."""

    def _refresh(self, alias: str) -> None:
        raise NoVersionError(f"A folder is served, not the registry: there is no {alias}.")
