"""delta_colorfulness: whether colorings are as colorful as the photographs, on the whole."""

from torch import Tensor


def delta_colorfulness(predicted: Tensor, target: Tensor) -> Tensor:
    """|mean colorfulness of the colorings - mean colorfulness of the photographs|.

    The difference of means, as in DDColor's tables; the mean of per-photograph differences, which some papers report
    under the same name, is several times larger.

    Args:
        predicted: (N,), `colorfulness` of the colorings.
        target: (N,), of the photographs.

    Returns:
        A scalar; 0 is best.
    """
    return (predicted.mean() - target.mean()).abs()
