"""The generator for use, measured on the photographs for validation as training goes, and its best snapshot so far."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.color import AB_SCALE, decode_lab, into_gamut, lab_to_srgb, to_network, to_uint8
from model.config import TrainConfig
from model.data.shards import Shards
from model.inference.predict import predict_ab
from model.metrics.ab_intersection import BINS, ab_histograms, ab_intersection
from model.metrics.colorfulness import colorfulness
from model.metrics.delta_colorfulness import delta_colorfulness
from model.metrics.l1_ab import l1_ab
from model.networks.generator import Generator
from model.training.distributed import Processes
from model.training.meters import Row
from model.training.state import below
from model.utils.errors import UserError
from model.utils.seeds import seeded

FIGURES = ("val_l1_ab", "val_delta_colorfulness", "val_ab_intersection")
_BATCH = 16
_PHOTOGRAPHS = 1024  # at most: of a large set a sample, random as SHA-256 orders it


class Validation:
    """Colors the photographs for validation at their stored size, always with the same z, each with its own label
    where the generator has labels, and scores that as evaluation does."""

    def __init__(self, shards: Shards, team: Processes) -> None:
        """
        Args:
            shards: the photographs.
            team: the processes that train; the first measures and tells the others.

        Raises:
            UserError: there are no photographs.
        """
        if not len(shards):
            raise UserError(
                f"train.validate_every needs photographs for validation and {shards.folder} has none; set it to 0, or "
                "raise preprocess.val_percent."
            )
        self._shards, self._team = shards, team

    def __call__(self, generator: Generator) -> dict[str, float]:
        """Measures a generator in eval mode, where it is; leaves the global random states as they were.

        Returns:
            FIGURES, the same in every process; NaN where a coloring is no finite number.
        """
        figures = self._measure(generator) if self._team.first else torch.zeros(len(FIGURES), dtype=torch.float64)
        return dict(zip(FIGURES, self._team.told(figures).tolist(), strict=True))

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


@dataclass(frozen=True)
class Snapshot:
    """When a generator was taken, in images seen, and its score: lower is better."""

    images: int
    score: float


class Best:
    """The snapshot of the generator that scored best so far.

    `l1_ab` scores by the error alone; `balance` adds a tenth of the difference in colorfulness, which gray pays as much
    as colors that are overdone. Where a game follows the warm-up, what comes before it does not count: l1_ab is at its
    best before colors come.

    Attributes:
        snapshot: None while nothing was offered that counts, and always where the last generator is handed on.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._select = config.select
        self._game = config.objective.adversarial != "none" and config.warmup_images < config.images
        self._weights: dict[str, Tensor] = {}
        self.snapshot: Snapshot | None = None

    def offer(self, row: Row, generator: Generator) -> None:
        """Copies the generator when it is the best.

        Args:
            row: of the history, with FIGURES of this generator.
            generator: for use.
        """
        if self._select == "last" or (self._game and row["phase"] != "full"):
            return
        error, color, _ = (float(row[name]) for name in FIGURES)
        score = error + color / 10 if self._select == "balance" else error
        if score < (self.snapshot.score if self.snapshot else math.inf):
            self.snapshot = Snapshot(int(row["images"]), score)
            self._weights = {name: value.detach().clone() for name, value in generator.state_dict().items()}

    def restore(self, generator: Generator) -> None:
        """Gives a generator the weights of the snapshot, where there is one."""
        if self.snapshot:
            generator.load_state_dict(self._weights)

    def tensors(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        if not self.snapshot:
            return {}
        facts = torch.tensor([self.snapshot.images, self.snapshot.score], dtype=torch.float64)
        return {"snapshot": facts} | {f"best.{name}": value for name, value in self._weights.items()}

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Takes over what `tensors` gave."""
        if "snapshot" in tensors:
            images, score = tensors["snapshot"].tolist()
            self.snapshot = Snapshot(int(images), score)
            self._weights = {name: value.to(device) for name, value in below(tensors, "best").items()}
