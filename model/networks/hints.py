"""Color hints of a user in the generator's decoder, after Zhang et al. 2017 (arXiv:1705.02999)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

_GAIN = 5.0  # brings a and b to about unit scale, as in the discriminator
_HIDDEN = 128


class HintPyramid(nn.Module):
    """Adds hints to the decoder's state at every level.

    A hint of a few pixels would vanish in a mean over a coarse cell. Each cell therefore gets the mean of the colors
    revealed within it, whatever their number, and says whether there are any. A 1x1 convolution without bias adds them
    to the decoder's state: without hints it adds exactly nothing. At the innermost level, two 3x3 convolutions of state
    and hints together spread a color over what resembles the place of the hint, up to two cells around. The last
    convolution of each level is zero at first: a new generator colors as one without hints.
    """

    gain: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        """
        Args:
            widths: channels of the decoder's state by level, outermost first; the state of level i has
                1 / 2^(i + 1) of the picture's side.
        """
        super().__init__()
        self.register_buffer("gain", torch.tensor([_GAIN, _GAIN, 1.0]).view(3, 1, 1), persistent=False)
        self.add: nn.ModuleList = nn.ModuleList(nn.Conv2d(3, width, 1, bias=False) for width in widths)
        self.spread = nn.Sequential(
            nn.Conv2d(widths[-1] + 3, _HIDDEN, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_HIDDEN, widths[-1], 3, padding=1, bias=False),
        )
        for layer in (*self.add, self.spread[-1]):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, hints: Tensor, level: int) -> Tensor:
        """Returns the decoder's state with the hints of a level.

        Args:
            x: (B, widths[level], H / 2^(level + 1), W / 2^(level + 1)), the state.
            hints: (B, 3, H, W) float32, as in `Generator.forward`.
            level: 0 is the outermost.
        """
        seen = pooled(hints, 2 ** (level + 1)) * self.gain
        added: Tensor = self.add[level](seen)
        if level == len(self.add) - 1:
            added = added + self.spread(torch.cat((x, seen), dim=1))
        return x + added


def pooled(hints: Tensor, factor: int) -> Tensor:
    """Reduces hints to cells: the mean of the colors revealed in each, and 1 where there are any.

    Args:
        hints: (B, 3, H, W) float32: a, b and the mask; a and b count where the mask is 1.
        factor: side of a cell in pixels; divides H and W.

    Returns:
        (B, 3, H / factor, W / factor) of the same kind; a = b = 0 where nothing is revealed.
    """
    ab, mask = hints[:, :2], hints[:, 2:]
    share = avg_pool2d(mask, factor)
    mean = avg_pool2d(ab * mask, factor) / share.clamp(min=torch.finfo(share.dtype).tiny)
    return torch.cat((mean, (share > 0).to(mean.dtype)), dim=1)
