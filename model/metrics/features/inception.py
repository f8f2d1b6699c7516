"""Inception-v3's features, which define FID and KID, by torch-fidelity. The weights are the user's to bring."""

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
"""The network of the FID paper (TensorFlow, 2015-12-05) as torch-fidelity, pytorch-fid and torchmetrics use it."""


class InceptionV3(nn.Module):
    """The 2048 numbers of the last pooling."""

    def __init__(self, weights: Weights, key: str) -> None:
        """
        Args:
            weights: torch-fidelity's state dict.
            key: the configuration key they came from, for the error message.

        Raises:
            UserError: they are another network's.
        """
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        # It unpickles whatever its file holds, so it gets a file of the tensors that we have read already.
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
        """Features: (B, 3, H, W) uint8 sRGB of any size -> (B, DIMENSIONS) float32 on the same device."""
        features: Tensor = self.network(rgb)[0]
        return features
