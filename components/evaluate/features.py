"""Pretrained networks for the metrics, and the reason for each that is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from components.evaluate import protocol
from components.evaluate.config import EvaluateConfig
from model.metrics.features.alexnet import SMALLEST_SIDE
from model.metrics.features.efficientnet_lite0 import EfficientNetLite0
from model.metrics.features.inception import InceptionV3
from model.metrics.lpips import LPIPS
from model.networks.encoders import packaged_weights
from model.networks.weights import load_weights

_PERCEPTUAL = ("lpips", "diversity_lpips")


@dataclass(frozen=True)
class Space:
    """Describes features by which two sets of pictures are compared, and names the two distances between them."""

    kernel: str
    frechet: str
    frechet_from: int
    """Number of photographs that the Frechet distance needs."""
    network: nn.Module
    """(B, 3, H, W) uint8 sRGB -> (B, D)."""


@dataclass(frozen=True)
class FeatureNetworks:
    """Holds the pretrained networks that were loaded."""

    spaces: tuple[Space, ...]
    lpips: LPIPS | None
    weights: Mapping[str, str]
    """Metric -> SHA-256 of its weights."""
    absent: Mapping[str, str]
    """Metric -> the reason why it cannot be measured, and what to do."""


def load_networks(config: EvaluateConfig, cache: Path, count: int, size: int, device: torch.device) -> FeatureNetworks:
    """Loads the networks that the configuration and the photographs allow.

    Args:
        config: says where Inception's and AlexNet's weights are, if the user has them.
        cache: folder for downloaded weights.
        count: number of photographs to score.
        size: their side in pixels.
        device: where the networks go.

    Raises:
        UserError: weights that the configuration names cannot be had, or are another network's.
    """
    packaged = packaged_weights()
    # 1280 dimensions: with fewer photographs the covariances are singular.
    spaces = [Space("kid_efflite0", "fd_efflite0", 2048, EfficientNetLite0(packaged).to(device))]
    weights = dict.fromkeys(("kid_efflite0", "fd_efflite0"), packaged.sha256)
    absent: dict[str, str] = {}
    if config.inception_weights:
        key = "evaluate.inception_weights"
        given = load_weights(config.inception_weights, key, cache)
        spaces.append(Space("kid", "fid", 2, InceptionV3(given, key).to(device)))
        weights |= dict.fromkeys(("kid", "fid"), given.sha256)
    else:
        absent |= {metric: protocol.no_inception(metric) for metric in ("fid", "kid")}
    perceptual = None
    if not config.lpips_weights:
        absent |= {metric: protocol.no_alexnet(metric) for metric in _PERCEPTUAL}
    elif size < SMALLEST_SIDE:
        absent |= {metric: protocol.too_small(metric, size) for metric in _PERCEPTUAL}
    else:
        key = "evaluate.lpips_weights"
        given = load_weights(config.lpips_weights, key, cache)
        perceptual = LPIPS(given, key).to(device)
        weights |= dict.fromkeys(_PERCEPTUAL, given.sha256)
    for space in spaces:
        for metric, needed in ((space.kernel, 2), (space.frechet, space.frechet_from)):
            if count < needed:
                absent[metric] = protocol.too_few(metric, needed, count)
    return FeatureNetworks(tuple(spaces), perceptual, weights, absent)
