"""Calibration: makes a trained generator's colorings as colorful as photographs are, as far as that is not guessing.

Where several colors are possible, the best guess by L1 lies between them and is paler than each (Zhang et al. 2016,
section 1). A generator is less sure of photographs that it was not trained on, so its colors there are paler still. One
number, fitted on such photographs, corrects both: c' = c (1 + slope * c / 20), with c the chroma in CIELAB units.
Strong colors, of which the generator is surer, gain more than faint ones. On the sample photographs this costs less
`l1_ab` for the same colorfulness than one factor for all colors, and less than a longer adversarial phase.

The rule, on validation photographs: a slope is possible if the colorings are on average no more colorful than the
photographs, and their `l1_ab` is below gray's by two standard errors of the difference. Of the possible ones it is the
largest whose `colorfulness_error` exceeds the least by at most one standard error of the difference (Breiman et al.
1984, Classification and Regression Trees, section 3.4.3). It is 0 where none is possible. So stronger colors cost no
more than what the generator gained over gray, and photographs of few colors do not pay for those of many.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from model.color import decode_lab, from_network, into_gamut, lab_to_srgb, to_network, to_uint8
from model.data.shards import Shards
from model.inference.predict import predict_ab, with_chroma
from model.metrics.colorfulness import colorfulness
from model.metrics.l1_ab import l1_ab
from model.networks.generator import Generator
from model.utils.seeds import seeded

_PHOTOGRAPHS = 256  # at most; their mean colorfulness is then known to about one unit
_BATCH = 16
_MAX_SLOPE = 2.0
_HALVINGS = 10
_STEPS = 16  # slopes tried, up to that of colorings as colorful as photographs
_BELOW_GRAY = 2.0  # standard errors by which l1_ab stays below gray's
_ABOVE_LEAST = 1.0  # standard errors by which colorfulness_error may exceed the least one


@dataclass(frozen=True)
class Point:
    """Holds the figures of validation photographs at one slope."""

    slope: float
    l1_ab: float
    colorfulness: float
    colorfulness_error: float


@dataclass(frozen=True)
class Calibration:
    """Holds what the rule saw: at the slope it chose, at none, and where colorings are as colorful as photographs."""

    photographs: int
    colorfulness_real: float
    gray_l1_ab: float
    chosen: Point
    uncalibrated: Point
    as_colorful: Point

    def to_json(self) -> dict[str, Any]:
        """Returns it in JSON's types, rounded."""
        facts = asdict(self)
        for name, value in facts.items():
            if isinstance(value, dict):
                facts[name] = {key: round(number, 4) for key, number in value.items()}
            else:
                facts[name] = round(value, 4)
        return facts


@torch.inference_mode()
def calibrate(generator: Generator, shards: Shards) -> Calibration:
    """Finds the generator's `chroma_slope` and sets it.

    Args:
        generator: in eval mode, on any device.
        shards: photographs on which it was not trained, at least one.

    Returns:
        The choice. Its slope is 0..2; 0 if the colors are strong enough already, or no better than gray.
    """
    generator.chroma_slope = 0.0
    colored = _Colored(generator, shards)
    as_colorful = colored.as_colorful()
    chosen = colored.choose([as_colorful * step / _STEPS for step in range(_STEPS + 1)])
    generator.chroma_slope = chosen
    points = (colored.point(slope) for slope in (chosen, 0.0, as_colorful))
    return Calibration(len(colored.real), float(colored.real.mean()), float(colored.gray.mean()), *points)


class _Colored:
    """Colors validation photographs once; measures them at any slope."""

    def __init__(self, generator: Generator, shards: Shards) -> None:
        device = next(generator.parameters()).device
        y = torch.from_numpy(shards.label_indices(generator.config.labels)).to(device)
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []
        real, gray = [], []
        for start in range(0, min(len(shards), _PHOTOGRAPHS), _BATCH):
            part = slice(start, min(start + _BATCH, _PHOTOGRAPHS))
            lab = decode_lab(torch.from_numpy(shards[part]).to(device))
            L, _ = to_network(lab)
            z = generator.sample_noise(len(L), seeded("calibrate", start))
            ab = predict_ab(generator, L, None if z is None else z.to(device), y[part])
            self._parts.append((L, ab, lab[:, 1:]))
            real.append(colorfulness(to_uint8(lab_to_srgb(lab))))
            gray.append(l1_ab(torch.zeros_like(lab[:, 1:]), lab[:, 1:]))
        self.real, self.gray = torch.cat(real), torch.cat(gray)

    def at(self, slope: float) -> tuple[Tensor, Tensor]:
        """Returns l1_ab and colorfulness of each photograph's coloring."""
        found = []
        for L, ab, true in self._parts:
            lab = into_gamut(from_network(L, with_chroma(ab, slope)))
            found.append((l1_ab(lab[:, 1:], true), colorfulness(to_uint8(lab_to_srgb(lab)))))
        errors, colorful = (torch.cat(each) for each in zip(*found, strict=True))
        return errors, colorful

    def as_colorful(self) -> float:
        """Returns the largest slope at which colorings are no more colorful than photographs; 0 if none."""
        low, high = 0.0, _MAX_SLOPE
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.at(middle)[1].mean() < self.real.mean() else (low, middle)
        return low

    def choose(self, slopes: list[float]) -> float:
        """Returns the largest of ascending slopes that the rule allows; 0 if it allows none."""
        figures = {slope: self.at(slope) for slope in slopes}
        possible = [slope for slope in slopes if _mean_in_errors(figures[slope][0] - self.gray) <= -_BELOW_GRAY]
        wrong = {slope: (figures[slope][1] - self.real).abs() for slope in possible}
        if not possible:
            return 0.0
        least = min(wrong.values(), key=lambda each: float(each.mean()))
        return max(slope for slope in possible if _mean_in_errors(wrong[slope] - least) <= _ABOVE_LEAST)

    def point(self, slope: float) -> Point:
        l1, colorful = self.at(slope)
        return Point(slope, float(l1.mean()), float(colorful.mean()), float((colorful - self.real).abs().mean()))


def _mean_in_errors(differences: Tensor) -> float:
    """Returns the mean of photographs' differences, (N,), in its standard errors; 0 or infinite where all are equal."""
    mean = differences.double().mean()
    error = differences.double().std(correction=1) / len(differences) ** 0.5 if len(differences) > 1 else 0 * mean
    return float(mean / error) if mean else 0.0
