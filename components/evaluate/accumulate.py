"""Accumulation of every metric over the test photographs, batch by batch."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from components.evaluate.bootstrap import PerImage
from components.evaluate.features import FeatureNetworks, Space
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
    """Holds a batch of photographs or of colorings, and the figures that need no other batch."""

    ab: Tensor
    """(B, 2, H, W) CIELAB units."""
    rgb: Tensor
    """(B, 3, H, W) uint8 sRGB."""
    colorfulness: Tensor
    """(B,)"""
    histograms: Tensor
    """(B, 2, BINS)"""
    features: Mapping[str, Tensor]
    """Name of a kernel distance -> (B, D) features of its space."""


def measure(lab: Tensor, networks: FeatureNetworks) -> Pictures:
    """Measures a batch of pictures.

    Args:
        lab: (B, 3, H, W) CIELAB that sRGB can show; what is outside is clipped.
        networks: the feature networks.
    """
    rgb = to_uint8(lab_to_srgb(lab))
    ab = lab[:, 1:]
    features = {space.kernel: space.network(rgb).cpu() for space in networks.spaces}
    return Pictures(ab, rgb, colorfulness(rgb).cpu(), ab_histograms(ab).cpu(), features)


def to_displayable(lightness: Tensor, ab: Tensor) -> Tensor:
    """Returns a coloring as users get it: (B, 1, H, W) uint8 stored L, (B, 2, H, W) a and b -> CIELAB in gamut."""
    return into_gamut(torch.cat((lightness.float() / 2.55, ab), dim=1))


class MetricAccumulator:
    """Accumulates the figures of a candidate, or of the photographs: some numbers for each photograph, no pictures."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Tensor]] = defaultdict(list)
        self._features: dict[str, list[Tensor]] = defaultdict(list)
        self._histograms: list[Tensor] = []
        self._finite: list[Tensor] = []

    def add_truth(self, truth: Pictures) -> None:
        """Adds a batch of photographs themselves."""
        self._add(truth)

    def add(self, truth: Pictures, lightness: Tensor, samples: Tensor, networks: FeatureNetworks) -> None:
        """Adds a batch of colorings.

        Args:
            truth: the photographs.
            lightness: (B, 1, H, W) uint8, their stored L.
            samples: (S, B, 2, H, W), colorings of each in CIELAB units; the first is scored, all are compared.
            networks: those that `truth` was measured with.
        """
        self._finite.append(samples.isfinite().flatten(2).all(dim=2).all(dim=0).cpu())
        samples = samples.nan_to_num()  # `scores` returns NaN for such a candidate
        given = [to_displayable(lightness, ab) for ab in samples]
        colored = measure(given[0], networks)
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
        if networks.lpips:
            measured["lpips"] = networks.lpips(colored.rgb, truth.rgb)
            others = [to_uint8(lab_to_srgb(lab)) for lab in given[1:]]
            measured["diversity_lpips"] = pairwise([colored.rgb, *others], networks.lpips)
        for name, values in measured.items():
            self._columns[name].append(values.cpu())

    def per_photograph(self) -> dict[str, Tensor]:
        """Returns (N,) for each metric of single photographs; NaN where a coloring was not finite."""
        columns = {name: torch.cat(parts).double() for name, parts in self._columns.items()}
        if self._finite:
            broken = ~torch.cat(self._finite)
            columns = {name: column.masked_fill(broken, float("nan")) for name, column in columns.items()}
        return columns

    @property
    def histograms(self) -> Tensor:
        """Counts the pixels of all photographs by a and by b: (2, BINS) int64."""
        return torch.cat(self._histograms).sum(dim=0)

    def per_image(self) -> PerImage:
        """Returns each photograph's share of the figures of `scores`, for resampling."""
        columns = {name: column.numpy() for name, column in self.per_photograph().items() if name != "ab_intersection"}
        features = {name: torch.cat(parts).double().numpy() for name, parts in self._features.items()}
        return PerImage(columns, torch.cat(self._histograms).double().numpy(), features)

    def features(self, space: Space) -> Tensor:
        """Returns the features of all photographs: (N, D)."""
        return torch.cat(self._features[space.kernel])

    def scores(self, truth: "MetricAccumulator", spaces: Sequence[Space]) -> dict[str, float]:
        """Returns every metric over all photographs.

        All are NaN when a single coloring was not finite: a generator that breaks on one photograph may break on
        others.

        Args:
            truth: of the photographs.
            spaces: of the features.
        """
        columns, real = self.per_photograph(), truth.per_photograph()["colorfulness"]
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
    """Returns the distances of a space that this number of photographs allows: none for a single one.

    Args:
        space: of the features.
        real: (N, D) of the photographs.
        generated: (N, D) of the colorings.
    """
    count = len(real)
    found = {space.kernel: kernel_distance(real, generated)} if count > 1 else {}
    if count >= max(2, space.frechet_from):
        found[space.frechet] = frechet_distance(real, generated)
    return found
