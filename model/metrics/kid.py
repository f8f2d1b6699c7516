"""The kernel distance between two sets of features: KID when they are Inception-v3's. By torch-fidelity."""

from torch import Tensor

SUBSETS = 100
SUBSET_SIZE = 1000


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    """Unbiased squared MMD with the kernel (x . y / D + 1)^3 (Binkowski et al. 2018, section 4).

    Up to `SUBSET_SIZE` images it is taken once, over all of them; beyond, it is the mean over `SUBSETS` random subsets
    of that size, drawn with a fixed seed, as the paper does to keep the kernel matrix small.

    Args:
        real: (N, D), N at least 2.
        generated: (N, D).

    Returns:
        Around 0, and below as often as above, for sets of one distribution; larger is worse.
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
