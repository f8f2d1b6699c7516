"""Progress of photographs on the server, for those who sent them: the place in the queue, or the tile at work."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel


class State(BaseModel):
    """Says where a photograph is: in the queue, or at work."""

    place: int | None = None
    """Place in the queue, from 1; None for a photograph at work."""
    tile: int | None = None
    """Number of finished tiles; None for a photograph that waits."""
    tiles: int | None = None
    """Number of all tiles."""


class Watched:
    """Follows one photograph."""

    def __init__(self) -> None:
        self.at: tuple[int, int] | None = None
        """Finished tiles and all tiles; None while it waits."""

    def advance(self, tile: int, tiles: int) -> None:
        """Notes that `tile` of `tiles` tiles are finished."""
        self.at = tile, tiles


class Progress:
    """Holds the photographs that are on the server, in the order of their arrival. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[object, Watched] = {}

    @contextmanager
    def watch(self, token: str | None) -> Iterator[Watched]:
        """Yields what follows a photograph until the end of the block.

        Args:
            token: name under which `state` finds it, chosen by its sender; None if nobody asks.
        """
        key, watched = token or object(), Watched()
        with self._lock:
            key = object() if key in self._watched else key
            self._watched[key] = watched
        try:
            yield watched
        finally:
            with self._lock:
                del self._watched[key]

    def state(self, token: str) -> State | None:
        """Returns where a photograph is; None for an unknown token."""
        with self._lock:
            watched = self._watched.get(token)
            if watched is None:
                return None
            if watched.at is not None:
                return State(tile=watched.at[0], tiles=watched.at[1])
            place = 1
            for other in self._watched.values():
                if other is watched:
                    break
                place += other.at is None
            return State(place=place)
