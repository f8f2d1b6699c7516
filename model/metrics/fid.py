"""fid: the Frechet distance between two sets of features, by torch-fidelity; FID for Inception-v3's features."""

import numpy as np
import torch
from torch import Tensor


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """Computes |m1 - m2|^2 + tr(C1 + C2 - 2 sqrt(C1 C2)) of Gaussians fitted to both sets (Heusel et al. 2017, eq. 6).

    The distance falls as the sets grow: compare only values from equal numbers of images. With fewer images than
    dimensions the covariances are singular and the value means little; `kernel_distance` has no such bias.

    Args:
        real: (N, D), N at least 2.
        generated: (M, D), M at least 2.

    Returns:
        0 for equal Gaussians, larger is worse; NaN if a feature is not finite.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    both = torch.cat((real, generated)).double().cpu()
    if not both.isfinite().all():
        return float("nan")
    if len(both) < both.shape[1]:
        # A rotation into the span of so few vectors changes no distance, and its small matrices save minutes.
        both = both @ torch.linalg.qr(both.T).Q
    first, second = (fid_features_to_statistics(features) for features in (both[: len(real)], both[len(real) :]))
    return float(np.real(fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID]))
