"""What each figure means and under which conditions it was measured; and why a figure is absent."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from components.evaluate import bootstrap
from model.config import EvaluateConfig
from model.data.shards import Shards
from model.metrics import lpips
from model.metrics.features import inception


@dataclass(frozen=True)
class Metric:
    """How to read a figure."""

    better: str
    """up, down, or empty where neither is."""
    unit: str
    definition: str


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
    "ab_intersection": Metric(
        "up",
        "0..1",
        "overlap of the histograms of a and of b over all photographs' pixels, bins of 1 CIELAB unit; mean of both",
    ),
    "kid_efflite0": Metric(
        "down",
        "",
        "squared MMD, kernel (x.y / D + 1)^3, unbiased, over EfficientNet-Lite0's 1280 pooled features: over all "
        "photographs together up to 1000, beyond as the mean of 100 random subsets of 1000",
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
"""In the order of the report's table."""


def conditions(
    test: Shards, count: int, config: EvaluateConfig, metrics: Collection[str], weights: Mapping[str, str]
) -> dict[str, Any]:
    """The protocol of a scoring, of JSON's types.

    Args:
        test: the test split.
        count: of its photographs were scored, the first.
        config: of the step.
        metrics: names of the figures there are.
        weights: SHA-256 of the pretrained weights behind a metric, by its name.
    """
    definitions = {}
    for name, metric in METRICS.items():
        if name in metrics:
            definitions[name] = {"definition": metric.definition, "unit": metric.unit, "better": metric.better}
            if name in weights:
                definitions[name]["weights_sha256"] = weights[name]
    return {
        "bootstrap": bootstrap.METHOD,
        "images": count,
        "size": test.size,
        "crop": "none: the stored squares, whole",
        "colors": "a and b brought into sRGB's gamut at constant L and hue, sRGB rounded to 8 bits; diversity: before",
        "scale": "the generator sees a side at the nearest multiple of 2 ** levels; a and b are scaled back bilinearly;"
        " with test-time augmentation, the mean of four looks: mirrored too, and at 1.3 times that side",
        "labels": "a generator that was trained with labels is told each photograph's own",
        "seed": config.seed,
        "samples": config.samples,
        "data_version": test.data_version,
        "photographs_sha256": hashlib.sha256("\n".join(test.sha256s[:count]).encode()).hexdigest(),
        "metrics": definitions,
    }


def no_inception(metric: str) -> str:
    """Why `fid` or `kid` is absent without weights."""
    source = f"set evaluate.inception_weights to their path, or to {inception.WEIGHTS}"
    return f"{metric} needs Inception-v3's weights: {source}"


def no_alexnet(metric: str) -> str:
    """Why `lpips` or `diversity_lpips` is absent without weights."""
    return f"{metric} needs AlexNet's weights: set evaluate.lpips_weights to their path, or to {lpips.WEIGHTS}"


def too_small(metric: str, size: int) -> str:
    """Why `lpips` or `diversity_lpips` is absent on tiny photographs."""
    return f"{metric} needs photographs of {lpips.SMALLEST_SIDE} pixels; these have {size}"


def too_few(metric: str, needed: int, count: int) -> str:
    """Why a distance between sets is absent."""
    why = "with fewer, the covariance of its features is singular" if needed > 2 else "one has no distribution"
    return f"{metric} needs {needed} photographs ({why}); there are {count}"


def not_finite(who: str) -> str:
    """Why all figures of a contestant are null."""
    return f"the {who}'s a or b was not a finite number in at least one photograph"
