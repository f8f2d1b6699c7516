"""colorfulness_correlation: whether the colorful photographs are those that get colorful colorings."""

from torch import Tensor


def correlation(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """Computes Pearson's correlation of two columns under several weightings.

    Args:
        first: (N,), such as the `colorfulness` of colorings.
        second: (N,), such as the `colorfulness` of their photographs.
        weights: (R, N), how often each photograph counts.

    Returns:
        (R,) in -1..1; 0 where a column does not vary.
    """
    total = weights.sum(dim=1)
    x, y = (column - column.mean() for column in (first, second))  # near 0: the moments below lose no digits

    def mean(column: Tensor) -> Tensor:
        return weights @ column / total

    covariance = mean(x * y) - mean(x) * mean(y)
    variances = [mean(each.square()) - mean(each).square() for each in (x, y)]
    scale = (variances[0] * variances[1]).clamp(min=0).sqrt()
    return (covariance / scale).where(scale != 0, 0.0).clamp(-1, 1)
