"""Calibration: makes a trained generator's colorings as colorful, on average, as photographs are.

Where several colors are possible, the best guess by L1 lies between them and is paler than each (Zhang et al. 2016,
section 1). A generator is less sure of photographs that it was not trained on, so its colors there are paler still. One
number, fitted on such photographs, corrects both: c' = c (1 + slope * c / 20), with c the chroma in CIELAB units.
Strong colors, of which the generator is surer, gain more than faint ones. On the sample photographs this costs less
`l1_ab` for the same colorfulness than one factor for all colors, and less than a longer adversarial phase.
"""

import torch
from torch import Tensor

from model.color import decode_lab, from_network, into_gamut, lab_to_srgb, to_network, to_uint8
from model.data.shards import Shards
from model.inference.predict import predict_ab, with_chroma
from model.metrics.colorfulness import colorfulness
from model.networks.generator import Generator
from model.utils.seeds import seeded

_PHOTOGRAPHS = 256  # at most; their mean colorfulness is then known to about one unit
_BATCH = 16
_MAX_SLOPE = 2.0
_HALVINGS = 10


@torch.inference_mode()
def calibrate(generator: Generator, shards: Shards) -> float:
    """Fits the generator's `chroma_slope` by bisection and sets it.

    Args:
        generator: in eval mode, on any device.
        shards: photographs on which it was not trained, at least one.

    Returns:
        The slope, 0..2; 0 if its colors are strong enough already.
    """
    device = next(generator.parameters()).device
    generator.chroma_slope = 0.0
    y = torch.from_numpy(shards.label_indices(generator.config.labels)).to(device)
    parts, real = [], []
    for start in range(0, min(len(shards), _PHOTOGRAPHS), _BATCH):
        part = slice(start, min(start + _BATCH, _PHOTOGRAPHS))
        lab = decode_lab(torch.from_numpy(shards[part]).to(device))
        L, _ = to_network(lab)
        z = generator.sample_noise(len(L), seeded("calibrate", start))
        parts.append((L, predict_ab(generator, L, None if z is None else z.to(device), y[part])))
        real.append(colorfulness(to_uint8(lab_to_srgb(lab))))
    wanted = torch.cat(real).mean()
    low, high = 0.0, _MAX_SLOPE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = torch.cat([_colorfulness(L, with_chroma(ab, middle)) for L, ab in parts]).mean()
        low, high = (middle, high) if found < wanted else (low, middle)
    generator.chroma_slope = low
    return low


def _colorfulness(L: Tensor, ab: Tensor) -> Tensor:
    return colorfulness(to_uint8(lab_to_srgb(into_gamut(from_network(L, ab)))))
