"""Tests of the colorizer on photographs of every shape: lightness, seams, seeds, labels and memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model import color
from model.data.images import decode
from model.inference import colorizer
from model.inference.colorizer import Colorizer
from model.inference.saved import save_generator
from model.networks.generator import Generator
from model.utils.errors import UserError
from tests.support.tiny import tiny_config

MEMORY = """
import resource, sys
import numpy as np
from pathlib import Path
from PIL import Image
from model.inference.colorizer import Colorizer
rgb = np.asarray(Image.open(sys.argv[2]).convert("RGB").resize((4000, 3000)))
colored = Colorizer.load(Path(sys.argv[1])).colorize(rgb)
assert colored.shape == (1, 3000, 4000, 3)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def generator_folder(folder: Path, *overrides: str, gain: float = 3.0) -> Path:
    """Saves an untrained generator with strong colors, some of them out of gamut; returns its folder."""
    torch.manual_seed(0)
    generator = Generator(tiny_config(*overrides).generator)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(gain)
    save_generator(folder, generator, crop=16, size=24, images=0)
    return folder


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Colorizer:
    return Colorizer.load(generator_folder(tmp_path_factory.mktemp("generator")))


@pytest.fixture(scope="module")
def photograph(photos: Path) -> np.ndarray:
    return decode(sorted((photos / "scratch").glob("*.jpg"))[0]).rgb


def lightness(rgb: np.ndarray) -> np.ndarray:
    return color.srgb_to_lightness(torch.tensor(rgb).permute(2, 0, 1))[0].numpy()


def test_lightness_of_real_photographs_is_kept(subject: Colorizer, photos: Path):
    for path in sorted((photos / "scratch").glob("*.jpg"))[:6]:
        rgb = decode(path).rgb
        colored = subject.colorize(rgb)[0]
        assert np.abs(lightness(colored) - lightness(rgb)).max() < 0.5, path
        assert np.ptp(colored.astype(int), axis=2).max() > 20, "it should have colored"


@settings(deadline=None, max_examples=30)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_lightness_of_any_pixels_is_kept(subject: Colorizer, rgb: np.ndarray):
    colored = subject.colorize(rgb)[0]
    assert colored.shape == rgb.shape
    assert np.abs(lightness(colored) - lightness(rgb)).max() < 0.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 2000), (2000, 3), (37, 53)])
def test_colorizer_accepts_any_image_shape(subject: Colorizer, shape: tuple[int, int]):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert subject.colorize(rgb, samples=2).shape == (2, *shape, 3)


def test_coloring_depends_only_on_the_lightness(subject: Colorizer, photograph: np.ndarray):
    L = torch.from_numpy(lightness(photograph))
    gray = torch.stack((L, torch.zeros_like(L), torch.zeros_like(L)))
    gray_rgb = color.to_uint8(color.lab_to_srgb(gray)).permute(1, 2, 0).contiguous().numpy()
    apart = np.abs(subject.colorize(gray_rgb)[0].astype(int) - subject.colorize(photograph)[0].astype(int))
    assert apart.mean() < 1.5  # the gray picture's L differs by 8-bit rounding


def test_samples_differ_repeat_by_seed_and_do_not_depend_on_their_number(subject: Colorizer, photograph: np.ndarray):
    three = subject.colorize(photograph, seed=5, samples=3)
    assert not np.array_equal(three[0], three[1])
    assert np.array_equal(subject.colorize(photograph, seed=5, samples=1)[0], three[0])
    assert np.array_equal(subject.colorize(photograph, seed=5, samples=3), three)
    assert not np.array_equal(subject.colorize(photograph, seed=6)[0], three[0])


def test_a_batch_is_colored_like_each_photograph_alone(subject: Colorizer, photograph: np.ndarray):
    pictures = [photograph, photograph[:50, :70]]
    for alone, together in zip(pictures, subject.colorize_batch(pictures, seed=1), strict=True):
        assert np.array_equal(subject.colorize(alone, seed=1), together)


def test_dropout_noise_follows_the_seed_and_keeps_the_global_random_state(tmp_path: Path, photograph: np.ndarray):
    subject = Colorizer.load(generator_folder(tmp_path, "generator.noise=dropout"))
    state = torch.get_rng_state()
    first = subject.colorize(photograph, seed=1, samples=2)
    assert np.array_equal(first, subject.colorize(photograph, seed=1, samples=2))
    assert not np.array_equal(first[0], first[1])
    assert torch.equal(state, torch.get_rng_state())


def test_each_label_gives_another_coloring_and_an_unknown_label_is_refused(tmp_path: Path, photograph: np.ndarray):
    subject = Colorizer.load(generator_folder(tmp_path, "generator.labels=[day, night]"))
    small = photograph[::4, ::4]
    pictures = [subject.colorize(small, 1, label=label)[0] for label in (None, "day", "night")]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert not np.array_equal(pictures[one], pictures[other])
    assert np.array_equal(next(subject.colorize_batch([small], 1, label="night"))[0], pictures[2])
    for picture in pictures:
        assert np.abs(lightness(picture) - lightness(small)).max() < 0.5
    with pytest.raises(UserError, match=r"does not know the label noon: it knows day, night\."):
        subject.colorize(small, label="noon")


def test_a_model_without_labels_refuses_a_label(subject: Colorizer, photograph: np.ndarray):
    with pytest.raises(UserError, match="does not know the label day: it was trained without labels; color without"):
        subject.colorize(photograph, label="day")


def test_processing_in_strips_leaves_no_seams(
    subject: Colorizer, photograph: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    whole = subject.colorize(photograph)
    monkeypatch.setattr(colorizer, "_STRIP_PIXELS", 3 * photograph.shape[1])
    assert np.abs(subject.colorize(photograph).astype(int) - whole.astype(int)).max() <= 1


def test_edges_of_color_follow_edges_of_lightness(subject: Colorizer):
    rgb = np.full((240, 240, 3), 40, np.uint8)
    rgb[:, 120:] = 200
    lab = color.srgb_to_lab(torch.from_numpy(subject.colorize(rgb)[0]).permute(2, 0, 1))
    a = lab[1, 120].numpy()
    step = np.abs(np.diff(a))
    assert step[115:125].argmax() + 115 == 119, "the largest change of color is where lightness changes"


def test_an_array_of_another_shape_or_dtype_is_refused(subject: Colorizer):
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="H, W, 3"):
            subject.colorize(wrong)


def test_a_damaged_and_a_missing_generator_are_refused(tmp_path: Path):
    folder = generator_folder(tmp_path)
    weights = folder / "generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"generator\.safetensors is damaged"):
        Colorizer.load(folder)
    with pytest.raises(UserError, match="holds no trained generator"):
        Colorizer.load(tmp_path / "nowhere")


def test_twelve_megapixels_are_colored_in_bounded_memory(tmp_path: Path, photos: Path):
    folder = generator_folder(tmp_path, gain=1.5)
    photograph = sorted((photos / "scratch").glob("*.jpg"))[0]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, folder, photograph], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 2.5 * 2**20  # kibibytes
