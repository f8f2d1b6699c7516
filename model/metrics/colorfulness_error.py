"""colorfulness_error: mean error of a coloring's colorfulness, photograph by photograph."""

from torch import Tensor


def colorfulness_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Computes |colorfulness of the coloring - colorfulness of its photograph| of each photograph.

    `delta_colorfulness` compares means, so a set may score 0 that makes colorful photographs pale and pale ones
    colorful. This metric counts both errors.

    Args:
        predicted: (N,) `colorfulness` of the colorings.
        target: (N,) `colorfulness` of the photographs.

    Returns:
        (N,); 0 is exact.
    """
    return (predicted - target).abs()
