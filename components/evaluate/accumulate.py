"""Scores: every metric of a contestant's colorings, added up batch by batch over the test photographs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from components.evaluate.bootstrap import Evidence
from components.evaluate.features import Instruments, Space
from model.color import into_gamut, lab_to_srgb, to_uint8
from model.metrics.ab_intersection import ab_histograms, ab_intersection
from model.metrics.colorfulness import colorfulness
from model.metrics.delta_colorfulness import delta_colorfulness
from model.metrics.diversity import diversity, pairwise
from model.metrics.fid import frechet_distance
from model.metrics.kid import kernel_distance
from model.metrics.l1_ab import l1_ab
from model.metrics.psnr import psnr
from model.metrics.ssim import ssim


@dataclass(frozen=True)
class Pictures:
    """A batch of photographs, or of colorings of them, and what is measured of it alone."""

    ab: Tensor
    """(B, 2, H, W) CIELAB units."""
    rgb: Tensor
    """(B, 3, H, W) uint8 sRGB."""
    colorfulness: Tensor
    """(B,)"""
    histograms: Tensor
    """(B, 2, BINS)"""
    features: Mapping[str, Tensor]
    """(B, D) for each space, by the name of its kernel distance."""


def look(lab: Tensor, instruments: Instruments) -> Pictures:
    """Measures pictures.

    Args:
        lab: (B, 3, H, W) CIELAB that sRGB can show; what is outside is clipped.
        instruments: what to measure with.
    """
    rgb = to_uint8(lab_to_srgb(lab))
    ab = lab[:, 1:]
    features = {space.kernel: space.network(rgb).cpu() for space in instruments.spaces}
    return Pictures(ab, rgb, colorfulness(rgb).cpu(), ab_histograms(ab).cpu(), features)


def delivered(lightness: Tensor, ab: Tensor) -> Tensor:
    """A coloring as a user would get it: (B, 1, H, W) uint8 stored L and (B, 2, H, W) a and b -> CIELAB in gamut."""
    return into_gamut(torch.cat((lightness.float() / 2.55, ab), dim=1))


class Tally:
    """A contestant's figures so far, or the photographs' own: some numbers for each photograph, and no pictures."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Tensor]] = defaultdict(list)
        self._features: dict[str, list[Tensor]] = defaultdict(list)
        self._histograms: list[Tensor] = []
        self._finite: list[Tensor] = []

    def add_truth(self, truth: Pictures) -> None:
        """Adds a batch of photographs as they are."""
        self._add(truth)

    def add(self, truth: Pictures, lightness: Tensor, samples: Tensor, instruments: Instruments) -> None:
        """Adds a batch of colorings.

        Args:
            truth: the photographs.
            lightness: (B, 1, H, W) uint8, their stored L.
            samples: (S, B, 2, H, W), colorings of each in CIELAB units; the first is scored, all are compared.
            instruments: the ones that `truth` was looked at with.
        """
        self._finite.append(samples.isfinite().flatten(2).all(dim=2).all(dim=0).cpu())
        samples = samples.nan_to_num()  # such a photograph voids the scores anyway; see `scores`
        given = [delivered(lightness, ab) for ab in samples]
        colored = look(given[0], instruments)
        self._add(colored)
        errors = torch.stack([l1_ab(lab[:, 1:], truth.ab) for lab in given])
        measured = {
            "l1_ab": errors[0],
            "l1_ab_best": errors.amin(dim=0),
            "psnr": psnr(colored.rgb, truth.rgb),
            "ssim": ssim(colored.rgb, truth.rgb),
            "ab_intersection": ab_intersection(colored.histograms, truth.histograms),
            "diversity": diversity(samples),
        }
        if instruments.lpips:
            measured["lpips"] = instruments.lpips(colored.rgb, truth.rgb)
            others = [to_uint8(lab_to_srgb(lab)) for lab in given[1:]]
            measured["diversity_lpips"] = pairwise([colored.rgb, *others], instruments.lpips)
        for name, values in measured.items():
            self._columns[name].append(values.cpu())

    def photographs(self) -> dict[str, Tensor]:
        """Each metric that exists for a single photograph: (N,), NaN where a coloring was not finite."""
        columns = {name: torch.cat(parts).double() for name, parts in self._columns.items()}
        if self._finite:
            broken = ~torch.cat(self._finite)
            columns = {name: column.masked_fill(broken, float("nan")) for name, column in columns.items()}
        return columns

    @property
    def histograms(self) -> Tensor:
        """(2, BINS) int64: pixels of all photographs by a and by b."""
        return torch.cat(self._histograms).sum(dim=0)

    def evidence(self) -> Evidence:
        """What each photograph adds to the figures of `scores`, for resampling."""
        columns = {name: column.numpy() for name, column in self.photographs().items() if name != "ab_intersection"}
        features = {name: torch.cat(parts).double().numpy() for name, parts in self._features.items()}
        return Evidence(columns, torch.cat(self._histograms).double().numpy(), features)

    def features(self, space: Space) -> Tensor:
        """(N, D)"""
        return torch.cat(self._features[space.kernel])

    def scores(self, truth: "Tally", spaces: Sequence[Space]) -> dict[str, float]:
        """Every metric over all photographs. All are NaN when a single coloring was not finite: a generator that
        breaks on one photograph has not proved itself on the others."""
        columns, real = self.photographs(), truth.photographs()["colorfulness"]
        scores = {name: float(column.mean()) for name, column in columns.items()}
        scores["colorfulness_real"] = float(real.mean())
        scores["delta_colorfulness"] = float(delta_colorfulness(columns["colorfulness"], real))
        scores["ab_intersection"] = float(ab_intersection(self.histograms, truth.histograms))
        for space in spaces:
            scores |= distances(space, truth.features(space), self.features(space))
        return scores if torch.cat(self._finite).all() else dict.fromkeys(scores, float("nan"))

    def _add(self, pictures: Pictures) -> None:
        self._histograms.append(pictures.histograms.int())
        self._columns["colorfulness"].append(pictures.colorfulness)
        for name, features in pictures.features.items():
            self._features[name].append(features)


def distances(space: Space, real: Tensor, generated: Tensor) -> dict[str, float]:
    """The distances of a space that so many photographs allow: none for a single one."""
    count = len(real)
    found = {space.kernel: kernel_distance(real, generated)} if count > 1 else {}
    if count >= max(2, space.frechet_from):
        found[space.frechet] = frechet_distance(real, generated)
    return found
