"""The game's formulas: adversarial, reconstruction, diversity and color losses, each a scalar.

D's logits are high for real patches. Means are over patches and batch, so a loss does not depend on their number.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.metrics.colorfulness import colorfulness


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """What D minimises, halved as in pix2pix so that D learns at the pace of G.

    - vanilla (Goodfellow et al. 2014, eq. 1): -(E log s(real) + E log(1 - s(fake))) / 2, s the logistic function
    - lsgan (Mao et al. 2017, eq. 9 with a=0, b=1): (E (real - 1)^2 + E fake^2) / 2
    - hinge (Lim and Ye 2017, eq. 8): (E max(0, 1 - real) + E max(0, 1 + fake)) / 2

    Args:
        kind: the game's name.
        real: logits of (L, true ab), any shape.
        fake: logits of (L, generated ab), any shape.
    """
    if kind == "vanilla":
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    if kind == "lsgan":
        return ((real - 1).square().mean() + fake.square().mean()) / 2
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    raise ValueError(f"no adversarial game is called {kind!r}")


def generator_adversarial_loss(kind: str, fake: Tensor) -> Tensor:
    """What G minimises of the game.

    - vanilla: -E log s(fake), the non-saturating form (Goodfellow et al. 2014, section 3)
    - lsgan: E (fake - 1)^2 (Mao et al. 2017, eq. 9 with c=1)
    - hinge: -E fake (Lim and Ye 2017, eq. 9)
    """
    if kind == "vanilla":
        return F.softplus(-fake).mean()
    if kind == "lsgan":
        return (fake - 1).square().mean()
    if kind == "hinge":
        return -fake.mean()
    raise ValueError(f"no adversarial game is called {kind!r}")


def reconstruction_loss(kind: str, predicted: Tensor, target: Tensor) -> Tensor:
    """l1: E |predicted - target| (Isola et al. 2017, eq. 3). l2: E (predicted - target)^2 (Pathak et al. 2016).

    Args:
        kind: l1 or l2.
        predicted: (B, 2, H, W) in -1..1.
        target: the same shape.
    """
    if kind == "l1":
        return (predicted - target).abs().mean()
    if kind == "l2":
        return (predicted - target).square().mean()
    raise ValueError(f"no reconstruction loss is called {kind!r}")


def diversity_loss(first: Tensor, second: Tensor, z_first: Tensor, z_second: Tensor, limit: float) -> Tensor:
    """Rewards colorings of one photograph for being as far apart as their z are, up to a limit.

    -E min(mean |first - second| / mean |z_first - z_second|, limit) per photograph: the diversity-sensitive term of
    Yang et al. 2019 (eq. 2), whose bound keeps it from blowing up as the inverse ratio of mode seeking (Mao et al.
    2019) does while z still has no effect.

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


def gradient_penalty(logits: Tensor, real: Tensor) -> Tensor:
    """R1 without its weight: E |grad of D at real data|^2 / 2 (Mescheder et al. 2018, eq. 9).

    The gradient of each photograph's mean logit, so that it does not depend on the number of patches.

    Args:
        logits: (B, 1, h, w), of `real`.
        real: (B, 2, H, W), with gradient; what D saw.
    """
    (gradient,) = torch.autograd.grad(logits.flatten(1).mean(dim=1).sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() / 2


def perceptual_loss(predicted: Sequence[Tensor | None], target: Sequence[Tensor | None]) -> Tensor:
    """Distance of features, mean over levels of E |predicted - target| / E |target|.

    Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer", with each level's scale divided out.

    Args:
        predicted: features by level, (B, C, h, w) each; None where a level has none.
        target: the same shapes.
    """
    distances = [
        (p - t).abs().mean() / (t.abs().mean() + 1e-5)
        for p, t in zip(predicted, target, strict=True)
        if p is not None and t is not None
    ]
    return torch.stack(distances).mean()


def colorfulness_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """|mean colorfulness of the colorings - that of the photographs| / 100: as colorful on the whole, not one by one.

    DDColor (Kang et al. 2023, eq. 6) rewards colorfulness without end; this stops where the photographs are.

    Args:
        predicted: (B, 3, H, W) RGB in 0..1.
        target: the same shape.
    """
    return (colorfulness(predicted * 255).mean() - colorfulness(target * 255).mean()).abs() / 100


def transport_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Distance between the batch's distributions of a and of b: mean |difference| of their sorted values.

    The Wasserstein distance in one dimension (Peyre and Cuturi 2019, remark 2.30), mean of both axes. It asks for the
    photographs' colors, not for them in their places: that is the reconstruction's part.

    Args:
        predicted: (B, 2, H, W) in -1..1.
        target: the same shape.
    """
    sorted_ = [x[:, :, ::2, ::2].transpose(0, 1).flatten(1).sort(dim=1).values for x in (predicted, target)]
    return (sorted_[0] - sorted_[1]).abs().mean()
