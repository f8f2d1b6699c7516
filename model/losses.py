"""Adversarial, reconstruction and diversity losses, each a scalar.

The discriminator's logits are high for real patches. Means are over patches and batch, so a loss does not depend on
their number.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Computes the discriminator's loss, halved as in pix2pix to slow the discriminator down.

    - vanilla (Goodfellow et al. 2014, eq. 1): -(E log s(real) + E log(1 - s(fake))) / 2, s the logistic function
    - lsgan (Mao et al. 2017, eq. 9 with a=0, b=1): (E (real - 1)^2 + E fake^2) / 2
    - hinge (Lim and Ye 2017, eq. 8): (E max(0, 1 - real) + E max(0, 1 + fake)) / 2

    Args:
        kind: vanilla, lsgan or hinge.
        real: logits of (L, true ab), any shape.
        fake: logits of (L, generated ab), any shape.
    """
    if kind == "vanilla":
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    if kind == "lsgan":
        return ((real - 1).square().mean() + fake.square().mean()) / 2
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    raise ValueError(f"unknown adversarial loss {kind!r}")


def judged_right(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Computes the share of patches that the discriminator judges right, real and generated ones counting equally.

    Args:
        kind: vanilla, lsgan or hinge.
        real: logits of (L, true ab), any shape.
        fake: logits of (L, generated ab), any shape.
    """
    border = 0.5 if kind == "lsgan" else 0.0  # between the targets 0 and 1; a logit's even odds
    return ((real > border).float().mean() + (fake < border).float().mean()) / 2


def generator_adversarial_loss(kind: str, fake: Tensor) -> Tensor:
    """Computes the generator's adversarial loss.

    - vanilla: -E log s(fake), the non-saturating form (Goodfellow et al. 2014, section 3)
    - lsgan: E (fake - 1)^2 (Mao et al. 2017, eq. 9 with c=1)
    - hinge: -E fake (Lim and Ye 2017, eq. 9)

    Args:
        kind: vanilla, lsgan or hinge.
        fake: logits of (L, generated ab), any shape.
    """
    if kind == "vanilla":
        return F.softplus(-fake).mean()
    if kind == "lsgan":
        return (fake - 1).square().mean()
    if kind == "hinge":
        return -fake.mean()
    raise ValueError(f"unknown adversarial loss {kind!r}")


def balanced_weight(share: float, reconstruction: Tensor, adversarial: Tensor) -> Tensor:
    """Computes the weight at which the adversarial gradient is a share of the reconstruction's (Esser et al. 2021,
    eq. 7).

    As there, the weight is at most 10,000 times the share: a discriminator whose gradient vanishes is not obeyed.

    Args:
        share: of the adversarial gradient in the size of the reconstruction's.
        reconstruction: size of the reconstruction's gradient, with its weight.
        adversarial: size of the adversarial gradient, without a weight.
    """
    smallest = torch.finfo(reconstruction.dtype).tiny
    return share * reconstruction / torch.maximum(adversarial, 1e-4 * reconstruction).clamp(min=smallest)


def reconstruction_loss(kind: str, predicted: Tensor, target: Tensor) -> Tensor:
    """Computes the reconstruction loss.

    - l1: E |predicted - target| (Isola et al. 2017, eq. 3)
    - l2: E (predicted - target)^2 (Pathak et al. 2016)

    Args:
        kind: l1 or l2.
        predicted: (B, 2, H, W) in -1..1.
        target: the same shape.
    """
    if kind == "l1":
        return (predicted - target).abs().mean()
    if kind == "l2":
        return (predicted - target).square().mean()
    raise ValueError(f"unknown reconstruction loss {kind!r}")


def diversity_loss(first: Tensor, second: Tensor, z_first: Tensor, z_second: Tensor, limit: float) -> Tensor:
    """Computes a loss that rewards two colorings of a photograph for differing in proportion to their z.

    -E min(mean |first - second| / mean |z_first - z_second|, limit) per photograph: the diversity-sensitive term of
    Yang et al. 2019 (eq. 2). Its bound keeps it finite while z has no effect, unlike the inverse ratio of mode seeking
    (Mao et al. 2019).

    Args:
        first: (B, 2, H, W), colorings with z_first.
        second: the same L with z_second.
        z_first: (B, noise_size).
        z_second: (B, noise_size).
        limit: tau of the paper, in units of ab / 110 per unit of z.
    """
    apart = (first - second).abs().mean(dim=(1, 2, 3))
    noise = (z_first - z_second).abs().mean(dim=1)
    return -torch.clamp(apart / (noise + 1e-5), max=limit).mean()
