"""lpips: learned perceptual distance (Zhang et al. 2018) between two pictures, over AlexNet."""

import torch
from torch import Tensor, nn

from model.metrics.features.alexnet import load_alexnet
from model.networks.weights import Weights


class LPIPS(nn.Module):
    """Computes LPIPS v0.1 with torchmetrics' network and the paper's linear heads, which torchmetrics ships."""

    def __init__(self, weights: Weights, key: str) -> None:
        """Loads the networks.

        Args:
            weights: torchvision's AlexNet.
            key: the configuration key that names the weights, for the error message.

        Raises:
            UserError: the weights belong to another network.
        """
        super().__init__()
        from torchmetrics.functional.image.lpips import _LPIPS  # the public class would download AlexNet itself

        self.network = _LPIPS(net="alex", pnet_rand=True)
        load_alexnet(self.network.net, weights, key)

    @torch.inference_mode()
    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Computes the distance of each pair.

        Args:
            predicted: (B, 3, H, W) uint8 sRGB, sides of at least `alexnet.SMALLEST_SIDE` pixels.
            target: the same shape.

        Returns:
            (B,) float32; 0 for equal pictures.
        """
        distance: Tensor = self.network(predicted.float() / 255, target.float() / 255, normalize=True)
        return distance.flatten()
