"""ssim: structural similarity (Wang et al. 2004), by scikit-image."""

import torch
from torch import Tensor


def ssim(predicted: Tensor, target: Tensor) -> Tensor:
    """Computes the mean SSIM of each photograph over pixels and the three channels of RGB.

    Parameters are the paper's: an 11 x 11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, and no sample covariance.

    Args:
        predicted: (B, 3, H, W) uint8 sRGB, H and W at least 11.
        target: the same shape.

    Returns:
        (B,) float32 on the CPU, at most 1; 1 for an exact copy.
    """
    from skimage.metrics import structural_similarity  # takes half a second: it imports SciPy

    pairs = zip(predicted.cpu().numpy(), target.cpu().numpy(), strict=True)
    return torch.tensor(
        [
            structural_similarity(
                first,
                second,
                channel_axis=0,
                data_range=255,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for first, second in pairs
        ],
        dtype=torch.float32,
    )
