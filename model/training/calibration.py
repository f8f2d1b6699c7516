"""How vivid: makes a trained generator's colorings as colorful as photographs are, on the whole.

L1's best guess where several colors are possible lies between them and is paler than each (Zhang et al. 2016, section
1), and what a generator is sure of on the photographs it learned from it is less sure of on others. One number, fitted
on photographs it never saw, gives that back: c' = c (1 + slope * c / 20), c the chroma in CIELAB units. Strong colors,
of which it is surer, gain more than faint ones. On the sample photographs this costs less `l1_ab` for the same
colorfulness than one factor for all, and less than an adversarial game that goes on until colors are as strong.
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
_AT_ONCE = 16
_HIGHEST = 2.0
_HALVINGS = 10


@torch.inference_mode()
def calibrate(generator: Generator, shards: Shards) -> float:
    """Sets the generator's `chroma_slope`.

    Args:
        generator: in eval mode, on any device.
        shards: photographs it was not trained on, at least one.

    Returns:
        The slope, 0 or more: colors that are too strong already are left alone.
    """
    device = next(generator.parameters()).device
    generator.chroma_slope = 0.0
    y = torch.from_numpy(shards.label_indices(generator.config.labels)).to(device)
    parts, real = [], []
    for start in range(0, min(len(shards), _PHOTOGRAPHS), _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, _PHOTOGRAPHS))
        lab = decode_lab(torch.from_numpy(shards[part]).to(device))
        L, _ = to_network(lab)
        z = generator.sample_noise(len(L), seeded("calibrate", start))
        parts.append((L, predict_ab(generator, L, None if z is None else z.to(device), y[part])))
        real.append(colorfulness(to_uint8(lab_to_srgb(lab))))
    wanted = torch.cat(real).mean()
    low, high = 0.0, _HIGHEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = torch.cat([_colorfulness(L, with_chroma(ab, middle)) for L, ab in parts]).mean()
        low, high = (middle, high) if found < wanted else (low, middle)
    generator.chroma_slope = low
    return low


def _colorfulness(L: Tensor, ab: Tensor) -> Tensor:
    return colorfulness(to_uint8(lab_to_srgb(into_gamut(from_network(L, ab)))))
