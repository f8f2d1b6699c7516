"""kid: the kernel distance between two sets of features, by torch-fidelity; KID for Inception-v3's features."""

from torch import Tensor

SUBSETS = 100
SUBSET_SIZE = 1000


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    """Computes the unbiased squared MMD with the kernel (x . y / D + 1)^3 (Binkowski et al. 2018, section 4).

    Up to `SUBSET_SIZE` images it is computed once, over all images. Beyond, it is the mean over `SUBSETS` random
    subsets of that size, drawn with a fixed seed, which keeps the kernel matrix small, as in the paper.

    Args:
        real: (N, D), N at least 2.
        generated: (N, D).

    Returns:
        Around 0, positive or negative, for sets of one distribution; larger is worse.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    count = min(len(real), len(generated))
    result = kid_features_to_metric(
        real.double().cpu(),
        generated.double().cpu(),
        kid_subsets=1 if count <= SUBSET_SIZE else SUBSETS,
        kid_subset_size=min(count, SUBSET_SIZE),
        verbose=False,
    )
    return float(result[KEY_METRIC_KID_MEAN])
