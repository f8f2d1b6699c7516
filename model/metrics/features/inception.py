"""Inception-v3's features, which define FID and KID, by torch-fidelity; the user provides the weights."""

import io

import torch
from torch import Tensor, nn

from model.networks.weights import Weights
from model.utils.errors import UserError

DIMENSIONS = 2048
WEIGHTS = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
    "#sha256=6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
)
"""Weights of the FID paper's network (TensorFlow, 2015-12-05), as used by torch-fidelity, pytorch-fid, torchmetrics."""


class InceptionV3(nn.Module):
    """Computes the 2048 features of the last pooling."""

    def __init__(self, weights: Weights, key: str) -> None:
        """Loads the network.

        Args:
            weights: torch-fidelity's state dict.
            key: the configuration key that names the weights, for the error message.

        Raises:
            UserError: the weights belong to another network.
        """
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        # It unpickles anything in its file, so it gets a file of tensors that were read safely before.
        file = io.BytesIO()
        torch.save(weights.state, file)
        file.seek(0)
        try:
            self.network = FeatureExtractorInceptionV3(
                "inception", [str(DIMENSIONS)], feature_extractor_weights_path=file
            )
        except RuntimeError:
            raise UserError(f"{key}: these are not torch-fidelity's Inception-v3 weights; use {WEIGHTS}") from None

    @torch.inference_mode()
    def forward(self, rgb: Tensor) -> Tensor:
        """Computes features: (B, 3, H, W) uint8 sRGB of any size -> (B, DIMENSIONS) float32 on the same device."""
        features: Tensor = self.network(rgb)[0]
        return features
