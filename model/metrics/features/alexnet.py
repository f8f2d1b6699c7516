"""AlexNet's convolutions, the features that LPIPS compares; the user provides their weights."""

from torch import nn

from model.networks.weights import Weights
from model.utils.errors import UserError

SMALLEST_SIDE = 32
"""Smallest side of a picture in pixels that AlexNet's last layers accept."""
WEIGHTS = (
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
    "#sha256=7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
)
"""torchvision's AlexNet, trained on ImageNet-1k."""


def load_alexnet(network: nn.Module, weights: Weights, key: str) -> None:
    """Copies torchvision's weights into torchmetrics' AlexNet.

    Args:
        network: groups AlexNet's `features` by slices: slice2.3.weight is torchvision's features.3.weight.
        weights: torchvision's AlexNet.
        key: the configuration key that names the weights, for the error message.

    Raises:
        UserError: the weights belong to another network.
    """
    try:
        state = {name: weights.state["features." + name.partition(".")[2]] for name in network.state_dict()}
        network.load_state_dict(state)
    except (KeyError, RuntimeError):
        raise UserError(f"{key}: these are not torchvision's AlexNet weights; use {WEIGHTS}") from None
