"""Candidates for scoring: anything that colors photographs from their lightness."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from model.color import AB_SCALE
from model.data.shards import Shards
from model.inference.predict import predict_ab, with_chroma
from model.networks.generator import Generator
from model.utils.seeds import seeded


class Candidate(Protocol):
    """Colors photographs.

    Args:
        lightness: (B, 1, H, W) uint8, stored L.
        photographs: the index of each in the test split. A candidate's random numbers depend on it, not on the batch of
            the photograph.

    Returns:
        (S, B, 2, H, W) float32, a and b in CIELAB units on the device of `lightness`: S colorings of each photograph,
        1 where all would be the same. The first is scored.
    """

    def __call__(self, lightness: Tensor, photographs: Sequence[int]) -> Tensor: ...


class GeneratorCandidate:
    """Colors with a generator at the scale of the stored photographs, whatever crop it was trained on."""

    def __init__(self, generator: Generator, test: Shards, samples: int, seed: int, most: int | None = None) -> None:
        """Draws the noise for every photograph.

        Args:
            generator: in eval mode, on the device to be used.
            test: the test split. A generator with labels gets those of the photographs.
            samples: colorings of each, if the generator has noise.
            seed: of z. Dropout draws anew for each batch, so its colorings depend on the batch size, too.
            most: number of photographs, the first ones, that will be colored; None for all.
        """
        self._generator, self._seed = generator, seed
        self._samples = 1 if generator.config.noise == "none" else samples
        count = min(len(test), most or len(test))
        self._noise = [generator.sample_noise(count, seeded(seed, "evaluate", n)) for n in range(samples)]
        self._labels = torch.from_numpy(test.label_indices(generator.config.labels))

    def __call__(self, lightness: Tensor, photographs: Sequence[int]) -> Tensor:
        return self.scaled(self.uncalibrated(lightness, photographs), 1.0)

    @property
    def calibrated(self) -> bool:
        """Says whether the generator has a chroma correction, whose strength can be changed."""
        return self._generator.chroma_slope > 0

    def uncalibrated(self, lightness: Tensor, photographs: Sequence[int]) -> Tensor:
        """Returns what `__call__` does, without the chroma correction."""
        L = lightness.float() / 127.5 - 1
        with torch.random.fork_rng([L.device] if L.device.type == "cuda" else []):
            torch.manual_seed(self._seed + photographs[0])
            samples = [self._color(L, z, photographs) for z in self._noise[: self._samples]]
        return torch.stack(samples) * AB_SCALE

    def scaled(self, samples: Tensor, strength: float) -> Tensor:
        """Returns uncalibrated colorings with a chroma correction of a strength; 1 is the generator's own."""
        return with_chroma(samples / AB_SCALE, strength * self._generator.chroma_slope) * AB_SCALE

    def _color(self, L: Tensor, z: Tensor | None, photographs: Sequence[int]) -> Tensor:
        chosen = list(photographs)
        y = self._labels[chosen].to(L.device)
        return predict_ab(self._generator, L, None if z is None else z[chosen].to(L.device), y, slope=0.0)
