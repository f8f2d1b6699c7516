"""The protocol of a scoring: its conditions, and the reasons for absent figures."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from components.evaluate import bootstrap
from components.evaluate.config import EvaluateConfig
from model.data.shards import Shards
from model.metrics.features import alexnet, inception
from model.metrics.table import METRICS

SAMPLED = 2000
"""Number of photographs on which the strength curve is measured and faces are searched: the first ones, a random sample
as SHA-256 orders them."""


def conditions(
    test: Shards, count: int, config: EvaluateConfig, metrics: Collection[str], weights: Mapping[str, str]
) -> dict[str, Any]:
    """Returns the protocol of a scoring, of JSON's types.

    Args:
        test: the split.
        count: number of its photographs that were scored, the first ones.
        config: of the step.
        metrics: names of the figures that were measured.
        weights: metric -> SHA-256 of its pretrained weights.
    """
    definitions = {}
    for name, metric in METRICS.items():
        if name in metrics:
            definitions[name] = {"definition": metric.definition, "unit": metric.unit, "better": metric.better}
            if name in weights:
                definitions[name]["weights_sha256"] = weights[name]
    return {
        "bootstrap": bootstrap.METHOD,
        "confidence": config.confidence,
        "split": test.split,
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
    """Returns the reason why `fid` or `kid` is absent without weights."""
    source = f"set evaluate.inception_weights to their path, or to {inception.WEIGHTS}"
    return f"{metric} needs Inception-v3's weights: {source}"


def no_alexnet(metric: str) -> str:
    """Returns the reason why `lpips` or `diversity_lpips` is absent without weights."""
    return f"{metric} needs AlexNet's weights: set evaluate.lpips_weights to their path, or to {alexnet.WEIGHTS}"


def too_small(metric: str, size: int) -> str:
    """Returns the reason why `lpips` or `diversity_lpips` is absent on small photographs."""
    return f"{metric} needs photographs of {alexnet.SMALLEST_SIDE} pixels; these have {size}"


def too_few(metric: str, needed: int, count: int) -> str:
    """Returns the reason why a distance between sets is absent."""
    why = "with fewer, the covariance of its features is singular" if needed > 2 else "one has no distribution"
    return f"{metric} needs {needed} photographs ({why}); there are {count}"


def not_finite(who: str) -> str:
    """Returns the reason why all figures of a candidate are null."""
    return f"the {who}'s a or b was not a finite number in at least one photograph"
