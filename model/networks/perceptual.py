"""A perceptual loss: the distance of two colorings in the features of a frozen EfficientNet-Lite0."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.color import from_network, lab_to_srgb
from model.networks.encoders import Pretrained, packaged_weights


class PerceptualLoss(nn.Module):
    """Computes LPIPS without its linear heads (Zhang et al. 2018, eq. 1 with w = 1), over EfficientNet-Lite0's stages.

    Features of each stage are scaled to unit length over their channels; the squared distance is averaged over pixels,
    photographs and stages. The network is frozen and no part of what a training saves.
    """

    def __init__(self) -> None:
        """Loads the weights that a package ships."""
        super().__init__()
        self.network = Pretrained("efficientnet_lite0", packaged_weights()).eval().requires_grad_(False)

    def forward(self, L: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
        """Computes the loss; only the network itself heeds autocast.

        Args:
            L: (B, 1, H, W) in -1..1.
            predicted: (B, 2, H, W) in -1..1, the ab of the coloring. Colors out of sRGB's gamut are clipped.
            target: true ab, of the same shape.

        Returns:
            Scalar float32 in 0..4; 0 for equal pictures.
        """
        with torch.no_grad():
            true = self._features(L, target)
        distances = []
        for mine, theirs in zip(self._features(L, predicted), true, strict=True):
            with torch.autocast(mine.device.type, enabled=False):
                apart = F.normalize(mine.float(), dim=1) - F.normalize(theirs.float(), dim=1)
                distances.append(apart.square().sum(dim=1).mean())
        return torch.stack(distances).mean()

    def _features(self, L: Tensor, ab: Tensor) -> list[Tensor]:
        rgb: Tensor = _Clip.apply(lab_to_srgb(from_network(L, ab)))  # type: ignore[no-untyped-call]
        features = self.network.of_picture(rgb.contiguous(memory_format=torch.channels_last))
        return [feature for feature in features if feature is not None]


class _Clip(torch.autograd.Function):
    """Clips to 0..1; a gradient whose descent leads back into the range passes, so that no color is stuck outside."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,), (gradient,) = ctx.saved_tensors, gradients
        outward = ((values < 0) & (gradient > 0)) | ((values > 1) & (gradient < 0))
        return gradient.masked_fill(outward, 0)
