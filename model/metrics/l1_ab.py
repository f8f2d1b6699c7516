"""l1_ab: mean absolute error of a and b in CIELAB units."""

from torch import Tensor


def l1_ab(predicted: Tensor, target: Tensor) -> Tensor:
    """Computes the mean |error| over both channels and all pixels of each photograph.

    Args:
        predicted: (B, 2, H, W), a and b in CIELAB units.
        target: the same shape.

    Returns:
        (B,) in CIELAB units; 0 is exact.
    """
    return (predicted - target).abs().mean(dim=(1, 2, 3))
