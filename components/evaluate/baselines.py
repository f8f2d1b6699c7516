"""Baselines that a colorizer must beat: gray, and the mean color of each lightness in the training set."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.color import decode_lab
from model.data.shards import Shards

_LEVELS = 256  # of stored L
_AT_ONCE = 64  # photographs
_PHOTOGRAPHS = 16384  # at most; a random sample, as SHA-256 orders them


class Gray:
    """Colors nothing: a = b = 0."""

    def __call__(self, lightness: Tensor, photographs: Sequence[int]) -> Tensor:
        return torch.zeros(1, len(lightness), 2, *lightness.shape[-2:], device=lightness.device)


class MeanByLightness:
    """Colors each pixel with the training set's mean (a, b) at its level of stored L, one of 256.

    A level that the training set lacks is interpolated between its neighbors, or repeats the last one.
    """

    def __init__(self, train: Shards) -> None:
        """Reads the training set once, a few photographs at a time; of a large one only the first.

        Args:
            train: at least one photograph.
        """
        count, total = np.zeros(_LEVELS), np.zeros((2, _LEVELS))
        for start in range(0, min(len(train), _PHOTOGRAPHS), _AT_ONCE):
            stored = train[start : start + _AT_ONCE]
            level = stored[:, 0].ravel()
            ab = decode_lab(torch.from_numpy(stored))[:, 1:].double().numpy()
            count += np.bincount(level, minlength=_LEVELS)
            for channel in range(2):
                total[channel] += np.bincount(level, weights=ab[:, channel].ravel(), minlength=_LEVELS)
        self.table = torch.from_numpy(_filled(count, total)).float()
        """(2, 256) CIELAB units."""

    def __call__(self, lightness: Tensor, photographs: Sequence[int]) -> Tensor:
        ab = self.table.to(lightness.device)[:, lightness[:, 0].long()]
        return ab.transpose(0, 1).unsqueeze(0)


def _filled(count: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    seen = np.flatnonzero(count)
    return np.stack([np.interp(np.arange(_LEVELS), seen, channel[seen] / count[seen]) for channel in total])
