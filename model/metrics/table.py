"""The table of metrics: for each its definition, its unit and which direction is better. Imports no torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """Describes how to read a metric's value."""

    better: Literal["up", "down", ""]
    """The better direction; empty where neither is better."""
    unit: str
    """Empty for a number without a unit."""
    definition: str
    """One line for reports and model cards."""


METRICS = {
    "l1_ab": Metric("down", "CIELAB", "mean |error| of a and b over pixels and both channels; mean over photographs"),
    "l1_ab_best": Metric(
        "down", "CIELAB", "l1_ab of the nearest of a photograph's colorings to the photograph; mean over photographs"
    ),
    "psnr": Metric("up", "dB", "of 8-bit sRGB, 100 at most; mean over photographs"),
    "ssim": Metric(
        "up", "", "Wang et al. 2004, 11 x 11 Gaussian window of sigma 1.5, on R, G and B; mean over photographs"
    ),
    "colorfulness": Metric(
        "", "", "Hasler and Suesstrunk 2003 over |R - G| and |(R + G) / 2 - B|, as colorization papers compute it"
    ),
    "colorfulness_real": Metric("", "", "colorfulness of the photographs themselves"),
    "delta_colorfulness": Metric("down", "", "|mean colorfulness of colorings - mean colorfulness of photographs|"),
    "colorfulness_error": Metric(
        "down", "", "|colorfulness of a coloring - colorfulness of its photograph|; mean over photographs"
    ),
    "colorfulness_correlation": Metric(
        "up", "-1..1", "Pearson's correlation over photographs of a coloring's colorfulness and its photograph's"
    ),
    "ab_intersection": Metric(
        "up",
        "0..1",
        "overlap of the histograms of a and of b over all photographs' pixels, bins of 1 CIELAB unit; mean of both",
    ),
    "kid_efflite0": Metric(
        "down",
        "",
        "squared MMD, kernel (x.y / D + 1)^3, over EfficientNet-Lite0's 1280 pooled features; unbiased: no mean holds "
        "the pair of a photograph with itself or with its own coloring, so a copy scores 0",
    ),
    "fd_efflite0": Metric("down", "", "Frechet distance of EfficientNet-Lite0's 1280 pooled features"),
    "kid": Metric("down", "", "as kid_efflite0, over Inception-v3's 2048 pooled features"),
    "fid": Metric(
        "down",
        "",
        "Frechet distance of Inception-v3's 2048 pooled features; it falls as photographs are added, so only figures "
        "of equally many compare, and below 2048 its covariances are singular",
    ),
    "lpips": Metric("down", "", "Zhang et al. 2018, AlexNet with the linear heads v0.1; mean over photographs"),
    "diversity": Metric(
        "up",
        "CIELAB",
        "mean |difference| of a and b over all pairs of a photograph's colorings; mean over photographs",
    ),
    "diversity_lpips": Metric("up", "", "mean lpips over all pairs of a photograph's colorings; mean over photographs"),
}
"""Metrics by name, in the order of the reports' tables."""


def directed() -> dict[str, Literal["up", "down"]]:
    """Returns the better direction of each metric that has one."""
    return {name: metric.better for name, metric in METRICS.items() if metric.better}
