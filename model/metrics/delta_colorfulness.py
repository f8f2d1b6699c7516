"""delta_colorfulness: difference in mean colorfulness between colorings and photographs."""

from torch import Tensor


def delta_colorfulness(predicted: Tensor, target: Tensor) -> Tensor:
    """Computes |mean colorfulness of the colorings - mean colorfulness of the photographs|.

    This is the difference of means, as in DDColor's tables. Some papers use the same name for the mean of differences
    per photograph, which is several times larger.

    Args:
        predicted: (N,) `colorfulness` of the colorings.
        target: (N,) `colorfulness` of the photographs.

    Returns:
        A scalar; 0 is best.
    """
    return (predicted.mean() - target.mean()).abs()
