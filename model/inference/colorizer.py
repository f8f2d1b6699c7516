"""Coloring of photographs at full size with a trained generator; the lightness stays."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model import color
from model.inference.hints import Hint, draw_hints
from model.inference.predict import predict_ab
from model.inference.reference import Reference
from model.inference.saved import load_generator
from model.inference.upsampling import GuidedUpsampling
from model.networks.generator import Generator
from model.utils.errors import UserError

LONGEST_ASPECT = 8
"""Sides of the longest picture that the network sees at `size`; a longer one is scaled below, to bound its memory."""
_MAX_ENLARGEMENT = 4.0  # more pixels would add no detail to a thumbnail below size / 4
_GLOBAL_RNG = Lock()
Pixels = NDArray[np.uint8] | NDArray[np.uint16]
"""Samples of sRGB, of 8 or 16 bits."""

_STRIP_PIXELS = 1 << 18  # fastest of 2^14 to 2^20 on two cores; a strip needs some 30 MB


class Input(NamedTuple):
    """Holds the network's input for one picture."""

    L: Tensor
    """(1, h, w) float32 in 0..100, on the device."""
    seed: int
    """Seed of its noise."""
    label: int
    """Index of its label in the generator's `config.labels`; -1 for unknown."""
    hints: Tensor | None = None
    """(3, h, w), as in `Generator.forward`, on the device; None for none."""


class Colorizer:
    """Colors photographs at their full size.

    The network sees a photograph at the scale of training and evaluation: the short side has `size` pixels. (Scaling
    the long side would shrink a panorama to a band of a few pixels.) Only a and b are upsampled to full size, guided by
    the full-size L (`model.inference.upsampling`). L is kept; a color outside sRGB's gamut loses chroma, not lightness.

    Invariant: on every pixel, L of the output differs from L of the input by less than 0.3 CIELAB units, whether or
    not the predicted color was in gamut. The difference comes from rounding three channels to 8 bits and is largest
    near black. Between pixels of 16 bits it is below 0.002, about one level of gray.

    The same generator, photograph and seed give the same pixels, whatever the number of samples or photographs, because
    `colorize` runs the network on one picture at a time. Pixels are equal to the bit on one kind of CPU with one
    version of torch; elsewhere they may differ by a level.
    """

    def __init__(self, generator: Generator, size: int, device: torch.device | str = "cpu") -> None:
        """Moves the generator to the device and sets it to eval mode.

        Args:
            generator: the network.
            size: short side of its training photographs in pixels.
            device: the device for all computation.
        """
        self.device = torch.device(device)
        self.generator = generator.to(self.device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.size = size

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> Self:
        """Loads a generator folder, the output of training.

        Raises:
            UserError: a file is missing or damaged (its SHA-256 differs), or has an unknown schema version.
        """
        generator, info = load_generator(folder)
        return cls(generator, info.size, device)

    def check_label(self, label: str | None) -> None:
        """Checks that the generator knows a label.

        Raises:
            UserError: it does not; names the labels that it knows.
        """
        known = self.generator.config.labels
        if label is not None and label not in known:
            knows = f"it knows {', '.join(known)}" if known else "it was trained without labels; color without one"
            raise UserError(f"this model does not know the label {label}: {knows}.")

    def check_hints(self, given: bool = True) -> None:
        """Checks that the generator takes hints if they are given.

        Raises:
            UserError: it does not.
        """
        if given and not self.generator.config.hints:
            raise UserError("this model takes no hints: it was trained without generator.hints; color without hints.")

    @torch.inference_mode()
    def reference(self, rgb: NDArray[np.uint8]) -> Reference:
        """Reads a colored photograph, for `like` of others of the same roll.

        Args:
            rgb: (H, W, 3) sRGB.

        Raises:
            UserError: the generator takes no hints, which the colors become.
        """
        self.check_hints()
        height, width = _sides(rgb.shape[0], rgb.shape[1], self.size)
        small = np.array(Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS))
        pixels = torch.from_numpy(small).to(self.device).permute(2, 0, 1)
        return Reference.read(self.generator, color.srgb_to_lab(pixels))

    @torch.inference_mode()
    def colorize(
        self,
        rgb: Pixels,
        seed: int = 0,
        samples: int = 1,
        label: str | None = None,
        predict: Callable[[Input], Tensor] | None = None,
        *,
        strength: float = 1.0,
        hints: tuple[Hint, ...] = (),
        like: Reference | None = None,
        advance: Callable[[int, int], None] = lambda tile, tiles: None,
    ) -> Pixels:
        """Colors a photograph; the network sees only its L.

        Args:
            rgb: (H, W, 3) sRGB, uint8 or uint16, H and W at least 1.
            seed: 0 or more. The same seed gives the same pictures.
            samples: number of pictures. Sample i does not depend on it. Without noise, all samples are equal.
            label: one of `generator.config.labels`; None for unknown.
            predict: returns the ab of one input, like `predict_together` for several; None calls `predict_together`
                with this picture alone.
            strength: factor of the chroma. Colors that it moves out of gamut lose chroma, not lightness.
            hints: colors that the user gives; strength acts on them, too.
            like: of a photograph of the same roll, from `reference`; hints cover its colors.
            advance: receives, before the network runs and before each tile is colored, the number of tiles that are
                finished and of all. An error that it raises ends the coloring.

        Returns:
            (samples, H, W, 3) sRGB of the same dtype.

        Raises:
            ValueError: an argument has another shape, dtype or range.
            UserError: as `check_label` and `check_hints`.
        """
        _check(rgb, seed, samples)
        self.check_label(label)
        self.check_hints(bool(hints or like))
        place = -1 if label is None else self.generator.config.labels.index(label)
        height, width = rgb.shape[:2]
        strips = _strips(height, width)
        L = torch.cat([self._lightness(rgb[strip]) for strip in strips], dim=-2)
        small = _scaled(L, self.size)
        given = self._hints(small, hints, like)
        colored = np.empty((samples, height, width, 3), dtype=rgb.dtype)
        most = np.iinfo(rgb.dtype).max
        tolerance = 1e-4 if most == 255 else 1e-6
        for sample in range(samples):
            tiles = range(sample * len(strips), samples * len(strips))
            advance(tiles.start, tiles.stop)
            asked = Input(small, _own_seed(seed, sample), place, given)
            ab = strength * (predict(asked) if predict else self.predict_together([asked])[0])
            full = GuidedUpsampling.fit(small, ab, height, width)
            for tile, strip in zip(tiles, strips, strict=False):
                advance(tile, tiles.stop)
                lab = torch.cat((L[:, strip], full.rows(L[:, strip], strip.start)))
                pixels = color.to_levels(color.lab_to_srgb(color.into_gamut(lab, tolerance=tolerance)), most)
                colored[sample, strip] = pixels.permute(1, 2, 0).cpu().numpy()
        return colored

    def colorize_batch(
        self, photographs: Iterable[Pixels], seed: int = 0, samples: int = 1, label: str | None = None
    ) -> Iterator[Pixels]:
        """Yields the result of `colorize` for each photograph, one at a time; sizes may differ."""
        return (self.colorize(rgb, seed, samples, label) for rgb in photographs)

    @torch.inference_mode()
    def predict_together(self, inputs: Sequence[Input]) -> Tensor:
        """Runs the network on pictures of equal height and width as one batch.

        A result differs from that of a batch of one by float32 rounding.

        Returns:
            (B, 2, h, w) float32, ab in CIELAB units.
        """
        if self.generator.config.noise == "dropout" and len(inputs) > 1:  # a batch would share one seed
            return torch.cat([self.predict_together([one]) for one in inputs])
        L = torch.stack([one.L for one in inputs]) / 50 - 1
        noise = [self.generator.sample_noise(1, torch.Generator().manual_seed(one.seed)) for one in inputs]
        z = torch.cat([one for one in noise if one is not None]).to(self.device) if noise[0] is not None else None
        y = torch.tensor([one.label for one in inputs], device=self.device)
        hints = _stacked([one.hints for one in inputs], L)
        alone = _GLOBAL_RNG if self.generator.config.noise == "dropout" else nullcontext()
        with alone, torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(inputs[0].seed)  # dropout draws from torch's global generator
            return predict_ab(self.generator, L, z, y, hints=hints) * color.AB_SCALE

    def _hints(self, L: Tensor, hints: tuple[Hint, ...], like: Reference | None) -> Tensor | None:
        """Returns hints for a picture of the network's scale, (3, h, w) on the device; None without any."""
        drawn = draw_hints(hints, *L.shape[-2:]).to(self.device) if hints else None
        if like is None:
            return drawn
        found = like.hints(self.generator, L)
        return found if drawn is None else torch.where(drawn[2:] > 0, drawn, found)

    def _lightness(self, rgb: Pixels) -> Tensor:
        """Converts (n, W, 3) uint8 or uint16 sRGB to L: (1, n, W) float32 in 0..100, on the device."""
        pixels = torch.tensor(rgb, device=self.device).permute(2, 0, 1)
        if rgb.dtype == np.uint16:
            pixels = pixels.float() / 65535
        # White rounds to 1e-5 above 100, which is out of gamut.
        return color.srgb_to_lightness(pixels).clamp(0, 100)


def _check(rgb: Pixels, seed: int, samples: int) -> None:
    """Raises ValueError if an argument of `colorize` has another shape, dtype or range."""
    if rgb.dtype not in (np.uint8, np.uint16) or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"need (H, W, 3) uint8 or uint16 of at least one pixel, got {rgb.shape} {rgb.dtype}")
    if seed < 0 or samples < 1:
        raise ValueError(f"need a seed of 0 or more and at least one sample, got {seed} and {samples}")


def _own_seed(seed: int, sample: int) -> int:
    return int(np.random.SeedSequence((seed, sample)).generate_state(1, np.uint64)[0])


def _stacked(hints: Sequence[Tensor | None], L: Tensor) -> Tensor | None:
    """Joins the hints of a batch; a picture without hints has an empty mask."""
    if all(one is None for one in hints):
        return None
    none = L.new_zeros(3, *L.shape[-2:])
    return torch.stack([none if one is None else one for one in hints])


def _strips(height: int, width: int) -> list[slice]:
    """Divides the rows into strips of about `_STRIP_PIXELS`: memory holds the conversions of one strip."""
    rows = max(1, _STRIP_PIXELS // width)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _scaled(L: Tensor, size: int) -> Tensor:
    """Scales L for the network as preprocessing does: (1, H, W) -> (1, h, w)."""
    sides = _sides(L.shape[-2], L.shape[-1], size)
    return F.interpolate(L[None], sides, mode="bicubic", antialias=True)[0].clamp(0, 100)


def _sides(height: int, width: int, size: int) -> tuple[int, int]:
    """Returns height and width of a picture at the network's scale."""
    short, long = sorted((height, width))
    scale = min(size / short, LONGEST_ASPECT * size / long, _MAX_ENLARGEMENT)
    return max(1, round(height * scale)), max(1, round(width * scale))
