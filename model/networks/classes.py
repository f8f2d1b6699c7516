"""Color as classification (Zhang et al. 2016, "Colorful Image Colorization"): the bins and the generator's head."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.color import AB_SCALE, srgb_to_lab

STEP = 10.0
"""Side of a bin in CIELAB units."""


@cache
def centers() -> Tensor:
    """Computes the centers of the bins of the ab plane that hold a color of sRGB.

    Bins are squares around the multiples of `STEP`. A line of constant a and b leaves the solid of sRGB's colors
    through its surface, so the six faces of the RGB cube show every bin.

    Returns:
        (261, 2) float32 in CIELAB units, by a, then by b; shared by all callers.
    """
    levels = torch.arange(0, 256, 3, dtype=torch.uint8)  # at every third, no bin hangs on rounding
    one, other = torch.meshgrid(levels, levels, indexing="ij")
    near_and_far = [torch.stack((torch.full_like(one, end), one, other)) for end in (0, 255)]
    faces = torch.stack([face.roll(axis, 0) for face in near_and_far for axis in range(3)])
    ab = srgb_to_lab(faces)[:, 1:].movedim(1, -1).reshape(-1, 2)
    bins: Tensor = torch.unique((ab / STEP).round(), dim=0)  # type: ignore[no-untyped-call]
    return STEP * bins


class Classes(nn.Module):
    """Predicts a logit for every bin at half the side of L; their annealed mean is the color.

    Logits are computed in float32: the rounding of half precision, divided by the temperature, would be noise in the
    colors.
    """

    centers: Tensor

    def __init__(self, channels: int) -> None:
        """Builds the layer.

        Args:
            channels: of the features.
        """
        super().__init__()
        self.register_buffer("centers", centers().clone(), persistent=False)
        self.classify = nn.Conv2d(channels, len(self.centers), 3, padding=1)

    def begin_faint(self) -> None:
        """Sets the biases to -chroma / `STEP`: about the logarithms of the frequencies of the bins in photographs, most
        of whose colors are faint."""
        assert self.classify.bias is not None
        with torch.no_grad():
            self.classify.bias.copy_(-self.centers.norm(dim=1) / STEP)

    def forward(self, x: Tensor) -> Tensor:
        """Computes float32 logits (B, Q, H, W) of features (B, channels, H, W); Q is the number of bins."""
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.classify(x.float())
        return logits

    def mean(self, logits: Tensor, temperature: float) -> Tensor:
        """Computes the annealed mean (Zhang et al. 2016, eq. 5) and doubles its side by bilinear interpolation.

        Args:
            logits: (B, Q, H, W) float32.
            temperature: 1 for the mean of the distribution; towards 0, its mode.

        Returns:
            ab (B, 2, 2 H, 2 W) float32 in -1..1.
        """
        with torch.autocast(logits.device.type, enabled=False):
            shares = F.softmax(logits.permute(0, 2, 3, 1) / temperature, dim=-1)
            ab = (shares @ self.centers / AB_SCALE).permute(0, 3, 1, 2)
            return F.interpolate(ab, scale_factor=2.0, mode="bilinear")
