"""lpips: learned perceptual distance (Zhang et al. 2018), over AlexNet. The weights are the user's to bring."""

import torch
from torch import Tensor, nn

from model.networks.weights import Weights
from model.utils.errors import UserError

SMALLEST_SIDE = 32
"""AlexNet's last layers need this many pixels."""
WEIGHTS = (
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
    "#sha256=7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
)
"""torchvision's AlexNet, ImageNet-1k."""


class LPIPS(nn.Module):
    """torchmetrics' network with the paper's linear heads (v0.1), which it ships, on an AlexNet that is given."""

    def __init__(self, weights: Weights, key: str) -> None:
        """
        Args:
            weights: torchvision's AlexNet.
            key: the configuration key they came from, for the error message.

        Raises:
            UserError: they are another network's.
        """
        super().__init__()
        from torchmetrics.functional.image.lpips import _LPIPS  # the public class would download AlexNet itself

        self.network = _LPIPS(net="alex", pnet_rand=True)
        try:  # torchmetrics groups AlexNet's `features` by slices: slice2.3.weight is features.3.weight
            backbone = {
                name: weights.state["features." + name.partition(".")[2]] for name in self.network.net.state_dict()
            }
            self.network.net.load_state_dict(backbone)
        except (KeyError, RuntimeError):
            raise UserError(f"{key}: these are not torchvision's AlexNet weights; use {WEIGHTS}") from None

    @torch.inference_mode()
    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Distance of each pair: two (B, 3, H, W) uint8 sRGB, sides from `SMALLEST_SIDE` -> (B,), 0 for equal ones."""
        distance: Tensor = self.network(predicted.float() / 255, target.float() / 255, normalize=True)
        return distance.flatten()
