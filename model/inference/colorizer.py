"""A trained generator at work: colors a photograph of any size and shape, and keeps its lightness."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model import color
from model.inference.predict import predict_ab
from model.inference.saved import load_generator
from model.inference.upsampling import GuidedUpsampling
from model.networks.generator import Generator
from model.utils.errors import UserError

_MAX_ENLARGEMENT = 4.0  # a thumbnail below size / 4 has nothing that more pixels would show the network
_MAX_ASPECT = 8  # a longer picture is made smaller than `size`, so that the network's memory stays bounded
_STRIP_PIXELS = 1 << 18  # fastest of 2^14 to 2^20 on two cores; a strip's conversions take some 30 MB


class Input(NamedTuple):
    """What the network is given for one picture."""

    L: Tensor
    """(1, h, w) in 0..100, on the device."""
    seed: int
    """Of its noise."""
    label: int
    """Its place in the generator's `config.labels`; -1 for unknown."""


class Colorizer:
    """Colors photographs at their full size.

    The network sees a photograph at the scale of those it was trained on and scored with: the short side has `size`
    pixels. The long side would shrink a panorama to a band of a few pixels. Only a and b are brought back to full
    size, guided by the full-size L (`model.inference.upsampling`); L itself is kept, and a color that sRGB cannot show
    at its L loses chroma, not lightness.

    The promise about L: on every pixel, whether the predicted color was in gamut or had to be brought back, L of what
    comes out differs from L of what went in by less than 0.3 CIELAB units. That much is the rounding of three channels
    to 8 bits, which weighs most near black.

    The same generator, photograph and seed give the same pixels, however many samples or photographs are asked for
    with them: `colorize` has the network take one picture at a time. This holds to the bit on one kind of CPU with one
    version of torch; elsewhere a level may differ.
    """

    def __init__(self, generator: Generator, size: int, device: torch.device | str = "cpu") -> None:
        """
        Args:
            generator: the network; it is moved to the device and put in eval mode.
            size: the short side in pixels of the photographs it was trained on.
            device: where to compute.
        """
        self.device = torch.device(device)
        self.generator = generator.to(self.device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.size = size

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> Self:
        """Reads a generator folder, the output of training.

        Raises:
            UserError: a file is missing, damaged (its SHA-256 differs) or of a schema that this version does not know.
        """
        generator, info = load_generator(folder)
        return cls(generator, info.size, device)

    def check_label(self, label: str | None) -> None:
        """
        Raises:
            UserError: this generator does not know the label; names those it knows.
        """
        known = self.generator.config.labels
        if label is not None and label not in known:
            knows = f"it knows {', '.join(known)}" if known else "it was trained without labels; color without one"
            raise UserError(f"this model does not know the label {label}: {knows}.")

    @torch.inference_mode()
    def colorize(
        self,
        rgb: NDArray[np.uint8],
        seed: int = 0,
        samples: int = 1,
        label: str | None = None,
        predict: Callable[[Input], Tensor] | None = None,
    ) -> NDArray[np.uint8]:
        """Colors a photograph. Only its L is looked at: what color it has is not seen.

        Args:
            rgb: (H, W, 3) uint8 sRGB, H and W at least 1.
            seed: 0 or more. The same seed gives the same pictures.
            samples: how many pictures. Sample i does not depend on how many there are. A generator without noise
                makes them all alike.
            label: what the photograph shows, one of `generator.config.labels`; None for unknown.
            predict: asks the network for one picture's ab, as `predict_together` does for several; None: that, with
                this picture alone.

        Returns:
            (samples, H, W, 3) uint8 sRGB.

        Raises:
            ValueError: an argument of another shape, dtype or range.
            UserError: as `check_label`.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
            raise ValueError(f"need (H, W, 3) uint8 of at least one pixel, got {rgb.shape} {rgb.dtype}")
        if seed < 0 or samples < 1:
            raise ValueError(f"need a seed of 0 or more and at least one sample, got {seed} and {samples}")
        self.check_label(label)
        place = -1 if label is None else self.generator.config.labels.index(label)
        height, width = rgb.shape[:2]
        strips = _strips(height, width)
        L = torch.cat([self._lightness(rgb[strip]) for strip in strips], dim=-2)
        small = _scaled(L, self.size)
        colored = np.empty((samples, height, width, 3), dtype=np.uint8)
        for sample in range(samples):
            asked = Input(small, _own_seed(seed, sample), place)
            ab = predict(asked) if predict else self.predict_together([asked])[0]
            full = GuidedUpsampling.fit(small, ab, height, width)
            for strip in strips:
                lab = torch.cat((L[:, strip], full.rows(L[:, strip], strip.start)))
                pixels = color.to_uint8(color.lab_to_srgb(color.into_gamut(lab)))
                colored[sample, strip] = pixels.permute(1, 2, 0).cpu().numpy()
        return colored

    def colorize_batch(
        self, photographs: Iterable[NDArray[np.uint8]], seed: int = 0, samples: int = 1, label: str | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Colors photographs of any sizes, one after the other as they are asked for, each as `colorize` would."""
        return (self.colorize(rgb, seed, samples, label) for rgb in photographs)

    @torch.inference_mode()
    def predict_together(self, inputs: Sequence[Input]) -> Tensor:
        """Puts pictures of the same height and width to the network in one go: (B, 2, h, w) ab in CIELAB units.

        What one gets differs by the rounding of float32 from what it gets alone.
        """
        if self.generator.config.noise == "dropout" and len(inputs) > 1:  # drawn from one seed for all of a batch
            return torch.cat([self.predict_together([one]) for one in inputs])
        L = torch.stack([one.L for one in inputs]) / 50 - 1
        noise = [self.generator.sample_noise(1, torch.Generator().manual_seed(one.seed)) for one in inputs]
        z = torch.cat([one for one in noise if one is not None]).to(self.device) if noise[0] is not None else None
        y = torch.tensor([one.label for one in inputs], device=self.device)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(inputs[0].seed)  # for dropout as noise, which draws from the process's own generator
            return predict_ab(self.generator, L, z, y) * color.AB_SCALE

    def _lightness(self, rgb: NDArray[np.uint8]) -> Tensor:
        """(n, W, 3) uint8 -> (1, n, W) float32 in 0..100, on the device."""
        pixels = torch.tensor(rgb, device=self.device).permute(2, 0, 1)
        # The rounding of white, 1e-5 above 100, would be out of gamut.
        return color.srgb_to_lightness(pixels).clamp(0, 100)


def _own_seed(seed: int, sample: int) -> int:
    return int(np.random.SeedSequence((seed, sample)).generate_state(1, np.uint64)[0])


def _strips(height: int, width: int) -> list[slice]:
    """All rows, cut into strips of about `_STRIP_PIXELS`, so that memory holds the conversions of one at a time."""
    rows = max(1, _STRIP_PIXELS // width)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _scaled(L: Tensor, size: int) -> Tensor:
    """L as the network shall see it, scaled as preprocessing does: (1, H, W) -> (1, h, w)."""
    height, width = L.shape[-2:]
    short, long = sorted((height, width))
    scale = min(size / short, _MAX_ASPECT * size / long, _MAX_ENLARGEMENT)
    sides = max(1, round(height * scale)), max(1, round(width * scale))
    return F.interpolate(L[None], sides, mode="bicubic", antialias=True)[0].clamp(0, 100)
