"""Tests of the conversion of sRGB to CIELAB and back, against scikit-image and at the limits of the gamut."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab

from model import color

LEVELS = np.r_[np.arange(0, 256, 15), 1, 10, 11, 254]  # 10 and 11 lie on both sides of sRGB's linear part
CUBE = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS, indexing="ij")).reshape(3, len(LEVELS), -1).astype(np.uint8)

unit = st.floats(0, 1, width=32)
triples = st.tuples(unit, unit, unit)


def pixel(*channels: float) -> torch.Tensor:
    return torch.tensor(channels, dtype=torch.float32).view(3, 1, 1)


def test_srgb_to_lab_agrees_with_scikit_image_over_the_rgb_cube():
    expected = rgb2lab(CUBE.transpose(1, 2, 0) / 255.0).transpose(2, 0, 1)
    for rgb in (torch.from_numpy(CUBE), torch.from_numpy(CUBE).float() / 255):
        assert np.abs(color.srgb_to_lab(rgb).numpy() - expected).max() < 1e-3


def test_lab_to_srgb_agrees_with_scikit_image():
    lab = rgb2lab(CUBE.transpose(1, 2, 0) / 255.0)
    found = color.lab_to_srgb(torch.from_numpy(lab).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    assert np.abs(found - lab2rgb(lab)).max() < 1e-3


def test_srgb_to_lightness_equals_the_lightness_of_srgb_to_lab():
    rgb = torch.from_numpy(CUBE)
    assert torch.allclose(color.srgb_to_lightness(rgb), color.srgb_to_lab(rgb)[:1], atol=1e-4)


def test_round_trip_through_lab_keeps_every_8_bit_value():
    rgb = torch.from_numpy(CUBE)
    assert torch.equal(color.to_uint8(color.lab_to_srgb(color.srgb_to_lab(rgb))), rgb)


def test_storing_lab_in_8_bits_loses_less_than_one_level_on_average():
    rgb = torch.from_numpy(CUBE)
    back = color.to_uint8(color.lab_to_srgb(color.decode_lab(color.encode_lab(color.srgb_to_lab(rgb)))))
    assert (back.int() - rgb.int()).abs().float().mean() < 1


@pytest.mark.parametrize("convert", [color.srgb_to_lab, color.lab_to_srgb])
@pytest.mark.parametrize("value", [0.0, 0.04045, 0.0031308, 0.5, 1.0, 8.0, 100.0])
def test_gradients_of_both_conversions_are_finite(convert, value):
    for channels in ((value, value, value), (value, 0.0, 0.0), (0.0, 0.0, value)):
        picture = pixel(*channels).requires_grad_()
        convert(picture).sum().backward()
        assert picture.grad.isfinite().all()


def test_srgb_to_lab_accepts_batches_of_any_rank_and_refuses_other_channels():
    rgb = torch.rand(2, 4, 3, 5, 6)
    together = color.srgb_to_lab(rgb)
    assert together.shape == rgb.shape
    assert torch.allclose(together[1, 2], color.srgb_to_lab(rgb[1, 2]), atol=1e-5)
    with pytest.raises(ValueError, match="3, H, W"):
        color.srgb_to_lab(torch.rand(4, 5, 6))


def test_conversions_stay_in_float32_under_autocast():
    rgb = torch.rand(3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = color.lab_to_srgb(color.srgb_to_lab(rgb))
    assert inside.dtype == torch.float32
    assert torch.allclose(inside, rgb, atol=1e-3)


@settings(deadline=None)
@given(triples)
def test_round_trip_through_lab_keeps_float_values(rgb):
    assert torch.allclose(color.lab_to_srgb(color.srgb_to_lab(pixel(*rgb))), pixel(*rgb), atol=1e-4)


@settings(deadline=None)
@given(st.floats(0, 100, width=32), st.floats(-110, 110, width=32), st.floats(-110, 110, width=32))
def test_into_gamut_keeps_lightness_and_hue_and_never_adds_chroma(L, a, b):
    mapped = color.into_gamut(pixel(L, a, b))
    assert bool(color.in_gamut(mapped, tolerance=1e-3).all())
    assert mapped[0].item() == pixel(L, a, b)[0].item()
    before, after = np.hypot(a, b), float(mapped[1:].norm())
    assert after <= before + 1e-4
    cross = a * float(mapped[2]) - b * float(mapped[1])
    assert abs(cross) <= 1e-3 * max(1.0, before * after)


def test_into_gamut_keeps_colors_in_gamut_and_maps_others_to_the_border():
    fits = color.srgb_to_lab(torch.from_numpy(CUBE))
    assert torch.equal(color.into_gamut(fits), fits)
    mapped = color.into_gamut(pixel(50.0, 90.0, -90.0))
    assert not bool(color.in_gamut(torch.cat((mapped[:1], mapped[1:] * 1.01))).all())


def test_from_network_inverts_to_network():
    lab = color.srgb_to_lab(torch.rand(2, 3, 4, 5))
    L, ab = color.to_network(lab)
    assert float(L.abs().max()) <= 1
    assert float(ab.abs().max()) <= 1
    assert torch.allclose(color.from_network(L, ab), lab, atol=1e-4)
