"""Accumulation of every metric over the test photographs, batch by batch."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from components.evaluate.features import FeatureNetworks, Space
from components.evaluate.figures import PerImage, figures
from model.color import into_gamut, lab_to_srgb, to_uint8
from model.metrics.ab_intersection import ab_histograms, ab_intersection
from model.metrics.colorfulness import colorfulness
from model.metrics.colorfulness_error import colorfulness_error
from model.metrics.diversity import diversity, pairwise
from model.metrics.fid import frechet_distance
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
        colored = self.add_color(truth, lightness, samples[0], networks)
        self._finite[-1] &= samples.isfinite().flatten(2).all(dim=2).all(dim=0).cpu()
        samples = samples.nan_to_num()  # `scores` returns NaN for such a candidate
        others = [to_displayable(lightness, ab) for ab in samples[1:]]
        errors = [l1_ab(ab, truth.ab) for ab in (colored.ab, *(lab[:, 1:] for lab in others))]
        measured = {
            "l1_ab_best": torch.stack(errors).amin(dim=0),
            "psnr": psnr(colored.rgb, truth.rgb),
            "ssim": ssim(colored.rgb, truth.rgb),
            "ab_intersection": ab_intersection(colored.histograms, truth.histograms),
            "diversity": diversity(samples),
        }
        if networks.lpips:
            measured["lpips"] = networks.lpips(colored.rgb, truth.rgb)
            shown = [colored.rgb, *(to_uint8(lab_to_srgb(lab)) for lab in others)]
            measured["diversity_lpips"] = pairwise(shown, networks.lpips)
        for name, values in measured.items():
            self._columns[name].append(values.cpu())

    def add_color(self, truth: Pictures, lightness: Tensor, ab: Tensor, networks: FeatureNetworks) -> Pictures:
        """Adds a batch of colorings of which only the color is measured; returns the colorings.

        Args:
            truth: the photographs.
            lightness: (B, 1, H, W) uint8, their stored L.
            ab: (B, 2, H, W) in CIELAB units.
            networks: those that `truth` was measured with.
        """
        self._finite.append(ab.isfinite().flatten(1).all(dim=1).cpu())
        colored = measure(to_displayable(lightness, ab.nan_to_num()), networks)
        self._add(colored)
        self._columns["l1_ab"].append(l1_ab(colored.ab, truth.ab).cpu())
        self._columns["colorfulness_error"].append(colorfulness_error(colored.colorfulness, truth.colorfulness))
        return colored

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
        """Returns each photograph's share of the figures.

        All is NaN when a single coloring was not finite: a generator that breaks on one photograph may break on
        others.
        """
        columns = {name: column for name, column in self.per_photograph().items() if name != "ab_intersection"}
        features = {name: torch.cat(parts).double() for name, parts in self._features.items()}
        histograms = torch.cat(self._histograms).double()
        if self._finite and not torch.cat(self._finite).all():
            columns, features = (
                {name: torch.full_like(values, torch.nan) for name, values in each.items()}
                for each in (columns, features)
            )
            histograms = torch.full_like(histograms, torch.nan)
        return PerImage(columns, histograms, features)

    def scores(self, truth: "MetricAccumulator", spaces: Sequence[Space]) -> dict[str, float]:
        """Returns every metric over all photographs; NaN when a single coloring was not finite.

        Args:
            truth: of the photographs.
            spaces: of the features.
        """
        ours, real = self.per_image(), truth.per_image()
        found = figures(ours, real, torch.ones(1, len(real), dtype=torch.float64))
        return {name: float(value) for name, value in found.items()} | frechet_distances(ours, real, spaces)

    def _add(self, pictures: Pictures) -> None:
        self._histograms.append(pictures.histograms.int())
        self._columns["colorfulness"].append(pictures.colorfulness)
        for name, features in pictures.features.items():
            self._features[name].append(features)


def frechet_distances(colorings: PerImage, truth: PerImage, spaces: Sequence[Space]) -> dict[str, float]:
    """Returns the Frechet distance of each space for which there are enough photographs."""
    return {
        space.frechet: frechet_distance(truth.features[space.kernel], colorings.features[space.kernel])
        for space in spaces
        if len(truth) >= max(2, space.frechet_from)
    }
