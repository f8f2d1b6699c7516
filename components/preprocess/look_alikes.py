"""Groups of look-alikes: which photograph of a group is kept, and whose hash decides the split of all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.preprocess.crops import hashes_of
from components.preprocess.duplicates import Hashes, first_close, near_duplicates
from model.data.format import SPLITS, Split


@dataclass(frozen=True)
class Member:
    """Holds a photograph that may be kept: its SHA-256, its perceptual hashes, and its group."""

    sha256: str
    hash: int
    """64-bit pHash of the central square's lightness."""
    mirrored: int
    """64-bit pHash of its mirror image."""
    crops: str = ""
    """pHashes of its inner squares (see `crops.crop_hashes`)."""
    first: str = ""
    """SHA-256 of the first member that its group had in any data version; it decides the split."""


@dataclass(frozen=True)
class LookAlikes:
    """Groups photographs.

    A recorded photograph stays in its group. A new one joins the group of a recorded look-alike, else that of a kept
    one of its own data version, else it founds a group. Where several groups are near, one in training comes first:
    no new photograph is in the test while it looks like one of training.

    Attributes:
        bits: the largest Hamming distance of look-alikes.
        split_of: returns the split of a group for the SHA-256 of its first member.
    """

    bits: int
    split_of: Callable[[str], Split]

    def kept(self, photographs: Sequence[Member], recorded: Sequence[Member]) -> dict[str, str]:
        """Returns the SHA-256 of the kept photograph that each one looks like: its own for a kept one.

        Of look-alikes in one data version, the first recorded one is kept; of new ones, that with the smallest SHA-256.

        Args:
            photographs: those of a data version, each SHA-256 once; their groups are ignored.
            recorded: those of earlier data versions, in the order of their coming.
        """
        place = {member.sha256: number for number, member in reversed(list(enumerate(recorded)))}
        ordered = sorted(photographs, key=lambda each: (place.get(each.sha256, len(recorded)), each.sha256))
        likes = near_duplicates(*_hashes(ordered), self.bits).tolist()
        return {each.sha256: ordered[like].sha256 for each, like in zip(ordered, likes, strict=True)}

    def grouped(self, photographs: Sequence[Member], recorded: Sequence[Member], kept: dict[str, str]) -> list[Member]:
        """Returns the photographs that were never recorded, with their groups; kept ones come first.

        Args:
            photographs: as in `kept`.
            recorded: as in `kept`.
            kept: its result.
        """
        known = {member.sha256 for member in recorded}
        new = sorted((each for each in photographs if each.sha256 not in known), key=lambda each: each.sha256)
        founders = self._joined([each for each in new if kept[each.sha256] == each.sha256], recorded)
        others = self._joined([each for each in new if kept[each.sha256] != each.sha256], [*recorded, *founders])
        while moved := self._moved(founders, others):
            founders = [replace(each, first=moved.get(each.first, each.first)) for each in founders]
            others = self._joined(others, [*recorded, *founders])
        return [*founders, *others]

    def _moved(self, founders: list[Member], others: list[Member]) -> dict[str, str]:
        """Returns groups that are near one that is nearer to training, and that one. Every round moves some."""
        alone = [each for each in founders if each.first == each.sha256]
        joined = {
            each.sha256: to.first for each, to in zip(alone, self._joined(alone, [*founders, *others]), strict=True)
        }
        moved = {first: to for first, to in joined.items() if self._rank(to) < self._rank(first)}
        return {first: to for first, to in moved.items() if to not in moved}

    def _joined(self, new: list[Member], earlier: Sequence[Member]) -> list[Member]:
        """Returns photographs with the group of an earlier one that is near, in training if one is; else their own.

        Near is a look-alike, a crop of the other one, or what the other one is a crop of.
        """
        earlier = sorted(earlier, key=lambda each: self._rank(each.first))
        whole, others = _hashes(new), _hashes(earlier)
        places = first_close(whole, others[0], self.bits)
        inside, owner = _crops(earlier)
        places = np.minimum(places, np.append(owner, len(earlier))[first_close(whole, inside, self.bits)])
        inside, owner = _crops(new)
        for hashes in others:
            np.minimum.at(places, owner, first_close((inside,), hashes, self.bits))
        return [
            replace(each, first=earlier[place].first if place < len(earlier) else each.sha256)
            for each, place in zip(new, places.tolist(), strict=True)
        ]

    def _rank(self, first: str) -> int:
        return SPLITS.index(self.split_of(first))


def _hashes(members: Sequence[Member]) -> tuple[Hashes, Hashes]:
    return (
        np.array([member.hash for member in members], dtype=np.uint64),
        np.array([member.mirrored for member in members], dtype=np.uint64),
    )


def _crops(members: Sequence[Member]) -> tuple[Hashes, NDArray[np.int64]]:
    """Returns the hashes of all inner squares, and the place of the photograph of each."""
    owner = np.repeat(np.arange(len(members)), [len(member.crops) // 16 for member in members])
    return hashes_of("".join(member.crops for member in members)), owner
