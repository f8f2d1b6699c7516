"""Validation of the generator during training, on the photographs of the split `val`."""

import math

import torch
from torch import Tensor

from model.color import AB_SCALE, decode_lab, into_gamut, lab_to_srgb, to_network, to_uint8
from model.data.shards import Shards
from model.inference.predict import predict_ab
from model.metrics.ab_intersection import BINS, ab_histograms, ab_intersection
from model.metrics.colorfulness import colorfulness
from model.metrics.delta_colorfulness import delta_colorfulness
from model.metrics.l1_ab import l1_ab
from model.networks.generator import Generator
from model.training.distributed import ProcessGroup
from model.utils.errors import UserError
from model.utils.seeds import seeded

FIGURES = ("val_l1_ab", "val_delta_colorfulness", "val_ab_intersection")
_BATCH = 16
_PHOTOGRAPHS = 1024  # at most; shards are in the order of SHA-256, so the first ones are a random sample


class Validation:
    """Colors the photographs at their stored size and scores the colorings as evaluation does.

    Every photograph has the same z each time, and its own label where the generator has labels.
    """

    def __init__(self, shards: Shards, dist: ProcessGroup) -> None:
        """
        Args:
            shards: the photographs.
            dist: the processes that train; the main process measures and broadcasts the figures.

        Raises:
            UserError: there are no photographs.
        """
        if not len(shards):
            raise UserError(
                f"train.validate_every needs photographs for validation and {shards.folder} has none; set it to 0, or "
                "raise preprocess.val_percent."
            )
        self._shards, self._dist = shards, dist

    def __call__(self, generator: Generator) -> dict[str, float]:
        """Measures a generator in eval mode on its device; leaves the global random states unchanged.

        Returns:
            FIGURES, the same in every process; NaN if a coloring is not finite.
        """
        figures = self._measure(generator) if self._dist.is_main else torch.zeros(len(FIGURES), dtype=torch.float64)
        return dict(zip(FIGURES, self._dist.broadcast(figures).tolist(), strict=True))

    @torch.inference_mode()
    def _measure(self, generator: Generator) -> Tensor:
        device = next(generator.parameters()).device
        count = min(len(self._shards), _PHOTOGRAPHS)
        z = generator.sample_noise(count, seeded("validate"))
        y = torch.from_numpy(self._shards.label_indices(generator.config.labels)).to(device)
        errors: list[Tensor] = []
        colorful: list[Tensor] = []
        histograms = torch.zeros(2, 2, BINS, dtype=torch.int64, device=device)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)  # dropout draws from the global generator
            for start in range(0, count, _BATCH):
                part = slice(start, min(start + _BATCH, count))
                lab = decode_lab(torch.from_numpy(self._shards[part]).to(device))
                ab = predict_ab(generator, to_network(lab)[0], None if z is None else z[part].to(device), y[part])
                if not bool(ab.isfinite().all()):
                    return torch.full((len(FIGURES),), math.nan, dtype=torch.float64)
                both = torch.stack((into_gamut(torch.cat((lab[:, :1], AB_SCALE * ab), dim=1)), lab))
                errors.append(l1_ab(both[0, :, 1:], both[1, :, 1:]))
                colorful.append(colorfulness(to_uint8(lab_to_srgb(both.flatten(0, 1)))).view(2, -1))
                histograms += torch.stack([ab_histograms(one[:, 1:]).sum(dim=0) for one in both])
        figures = (
            torch.cat(errors).double().mean(),
            delta_colorfulness(*torch.cat(colorful, dim=1).double()),
            ab_intersection(*histograms).double(),
        )
        return torch.stack(figures).cpu()
