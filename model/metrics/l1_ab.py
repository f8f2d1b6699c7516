"""l1_ab: how far a and b are from the photograph's own, in CIELAB units."""

from torch import Tensor


def l1_ab(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean |error| over both channels and all pixels of each photograph.

    Args:
        predicted: (B, 2, H, W), a and b in CIELAB units.
        target: the same shape.

    Returns:
        (B,), CIELAB units; 0 is exact.
    """
    return (predicted - target).abs().mean(dim=(1, 2, 3))
