"""The population stability index, a distance between two histograms, and its distribution by chance.

PSI comes from credit scoring (Lewis 1992, "An Introduction to Credit Scoring"; Siddiqi 2006, "Credit Risk Scorecards"),
as do the customary limits: below 0.1 little has changed, above 0.25 much has. It is Jeffreys' divergence: the sum over
the bins of (p - q) ln(p / q).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from components.inspect.config import InspectConfig
from components.inspect.distributions import Counts, Distributions

CHANCE = 0.001
"""Probability below which a drift counts: that of two draws from the same photographs differing as much. With ten
distributions, one run in a hundred has a false alarm."""

_SMOOTHING = 0.5

Verdict = Literal["steady", "warn", "stop"]


@dataclass(frozen=True)
class Drift:
    """Holds the drift of one distribution."""

    psi: float
    chance: float
    """Probability that two draws as large from the same photographs differ as much: 0..1."""
    photographs: int
    champions: int
    verdict: Verdict


def psi(ours: Counts, theirs: Counts) -> float:
    """Returns the population stability index of two histograms: 0 when they are equal, the same when they are swapped.

    Half a photograph is added to each bin that either fills (Krichevsky and Trofimov's estimate). So a bin that only
    one of them fills counts, but not infinitely.
    """
    p, q = _shares(ours, theirs), _shares(theirs, ours)
    return float(((p - q) * (p / q).log()).sum())


def chance(psi: float, ours: Counts, theirs: Counts) -> float:
    """Returns the probability that two draws of as many photographs from one population show this PSI or a higher one.

    Of n and m photographs in k bins, PSI / (1 / n + 1 / m) is distributed as chi-squared with k - 1 degrees of freedom,
    so PSI is (k - 1) (1 / n + 1 / m) by chance alone (Yurdakul and Naranjo 2020, "Statistical properties of the
    population stability index", Journal of Risk Model Validation).
    """
    noise = sum(1 / max(1, sum(counts.values())) for counts in (ours, theirs))
    freedom = len(_filled(ours, theirs)) - 1
    if freedom < 1:
        return 1.0
    half = torch.tensor((freedom / 2, psi / noise / 2), dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def compare(ours: Distributions, theirs: Distributions, config: InspectConfig) -> dict[str, Drift]:
    """Returns the drift of each distribution that both have."""
    found = {}
    for name in ours.counts.keys() & theirs.counts.keys():
        mine, its = ours.counts[name], theirs.counts[name]
        distance = psi(mine, its)
        probability = chance(distance, mine, its)
        found[name] = Drift(
            distance,
            probability,
            sum(mine.values()),
            sum(its.values()),
            _verdict(distance, config) if probability < CHANCE else "steady",
        )
    return {name: found[name] for name in ours.counts if name in found}


def named(drifts: Mapping[str, Drift], verdict: Verdict) -> str:
    """Lists the distributions of a verdict, the farthest first: "hue (PSI 0.41), lightness (PSI 0.27)"."""
    far = sorted((name for name in drifts if drifts[name].verdict == verdict), key=lambda name: -drifts[name].psi)
    return ", ".join(f"{name} (PSI {drifts[name].psi:.2f})" for name in far)


def _verdict(psi: float, config: InspectConfig) -> Verdict:
    if config.psi_stop and psi > config.psi_stop:
        return "stop"
    return "warn" if psi > config.psi_warn else "steady"


def _filled(ours: Counts, theirs: Counts) -> list[str]:
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) or theirs.get(name))


def _shares(counts: Counts, others: Counts) -> Tensor:
    """Returns the smoothed shares of the bins that either fills: (k,) float64."""
    smoothed = torch.tensor([counts.get(name, 0) for name in _filled(counts, others)], dtype=torch.float64) + _SMOOTHING
    return smoothed / smoothed.sum()
