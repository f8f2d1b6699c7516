"""The PatchGAN discriminator of Isola et al. 2017 (pix2pix), with optional labels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import DiscriminatorConfig
from model.networks.layers import initialize, norm

_L_GAIN, _AB_GAIN = 2.0, 5.0
"""Bring L and ab to about unit scale: photographs' L varies by about 25 of 50 units, ab by about 22 of 110."""

_STRIDED_LAYERS = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}  # receptive field -> 4x4 convolutions of stride 2


class Discriminator(nn.Module):
    """Computes a logit for every overlapping patch of `receptive_field` pixels (PatchGAN).

    Convolutions are 4x4: the receptive field determines how many have stride 2; two of stride 1 follow. For a receptive
    field of 1 pixel ("PixelGAN") all convolutions are 1x1. The first and the last convolution have no normalization,
    except that `spectral` divides every convolution by its largest singular value (Miyato et al. 2018).

    Labels enter by projection (Miyato and Koyama 2018, "cGANs with Projection Discriminator"): the inner product of the
    label's embedding with the mean of the features behind a logit is added to that logit. An unknown label adds
    nothing.
    """

    def __init__(self, config: DiscriminatorConfig, labels: int = 0) -> None:
        """Builds the layers and initializes their weights.

        Args:
            config: channels, receptive field, normalization, and whether L is an input.
            labels: number of known labels; 0 for none.
        """
        super().__init__()
        self.config = config
        strided = _STRIDED_LAYERS[config.receptive_field]
        kernel, padding = self._kernel, self._padding = (4, 1) if strided else (1, 0)
        channels = 3 if config.conditional else 2
        strides = [2] * strided + [1] if strided else [1, 1]
        layers: list[nn.Module] = []
        for index, stride in enumerate(strides):
            width = config.channels * min(2**index, 8)
            layers.append(nn.Conv2d(channels, width, kernel, stride, padding))
            if index and config.norm not in ("none", "spectral"):
                layers.append(norm(config.norm, width))
            layers.append(nn.LeakyReLU(0.2))
            channels = width
        layers.append(nn.Conv2d(channels, 1, kernel, 1, padding))
        self.layers = nn.Sequential(*layers)
        self.apply(initialize)
        self.embed = nn.Embedding(labels, channels) if labels else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, 0.0, 0.02)
        if config.norm == "spectral":
            for layer in list(self.modules()):
                if isinstance(layer, nn.Conv2d | nn.Embedding):
                    nn.utils.parametrizations.spectral_norm(layer)

    def forward(self, L: Tensor, ab: Tensor, y: Tensor | None = None) -> Tensor:
        """Classifies patches.

        Args:
            L: (B, 1, H, W) in -1..1; ignored by an unconditional discriminator.
            ab: (B, 2, H, W) in -1..1.
            y: (B,) int64 labels, -1 for unknown, as in `Generator.forward`; None for all unknown.

        Returns:
            (B, 1, h, w) logits, high for real patches.
        """
        seen = torch.cat((_L_GAIN * L, _AB_GAIN * ab), dim=1) if self.config.conditional else _AB_GAIN * ab
        features = self.layers[:-1](seen)
        logits: Tensor = self.layers[-1](features)
        if self.embed is None or y is None:
            return logits
        label = self.embed(y.clamp(min=0)) * (y >= 0)[:, None]
        projection = torch.einsum("bc,bchw->bhw", label, features)[:, None]
        return logits + F.avg_pool2d(projection, self._kernel, 1, self._padding)

    def gradient_penalty(self, L: Tensor, ab: Tensor, y: Tensor | None = None) -> Tensor:
        """Computes the zero-centered gradient penalty of Mescheder et al. 2018 (eq. 9): R1 at true ab, R2 at generated.

        It is the squared norm of the gradient of a photograph's summed logits at its ab, over the number of logits,
        mean over photographs: of patches that do not overlap, it is the mean of each patch's own, whatever the size of
        the photograph. The gradient is that at the ab that the layers see, which has about unit scale.

        Call it outside of autocast: the gradient of a gradient suffers from bfloat16.

        Args:
            L: (B, 1, H, W) in -1..1.
            ab: (B, 2, H, W) in -1..1.
            y: (B,) int64 labels, as in `forward`.

        Returns:
            A scalar, 0 or more, with a gradient at the weights alone.
        """
        ab = ab.detach().requires_grad_()
        logits: Tensor = self(L, ab, y)
        (slope,) = torch.autograd.grad(logits.sum(), ab, create_graph=True)
        return (slope / _AB_GAIN).square().sum() / logits.numel()

    def receptive_field(self) -> int:
        """Computes the side in pixels of the patch behind one logit from the layers' kernels and strides."""
        field, jump = 1, 1
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                field += (layer.kernel_size[0] - 1) * jump
                jump *= layer.stride[0]
        return field


def smallest_side(receptive_field: int) -> int:
    """Returns the smallest image side in pixels that gives a PatchGAN of this receptive field at least one logit."""
    strided = _STRIDED_LAYERS[receptive_field]
    return 3 * 2**strided if strided else 2
