"""The generator: a U-Net, or the same network without skip connections, after Isola et al. 2017 (pix2pix).

Height and width must be multiples of 2 ** levels; `model.inference.predict` handles all other sizes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import GeneratorConfig
from model.networks.classes import Classes
from model.networks.encoders import Convolutions, Pretrained
from model.networks.hints import HintPyramid
from model.networks.layers import doubling, initialize, norm
from model.networks.weights import Weights

_DROPOUT_BLOCKS = 3  # pix2pix drops out in the three decoder blocks nearest the bottleneck


class Generator(nn.Module):
    """Predicts a and b from L and noise z.

    Encoder: convolutions trained from scratch, or a pretrained network (`model.networks.encoders`). Decoder: doubles
    the side as often as the encoder has levels; with `skip`, each level also receives the encoder's features of the
    same side. Features of a pretrained encoder may have any magnitude and are normalized first.

    Noise: `gaussian` scales and shifts every decoder level after its normalization (FiLM, Perez et al. 2018), because
    a z that is only concatenated to the input is ignored (pix2pix, section 3.1). `dropout` stays active in eval mode.

    Labels: the embedding of a photograph's label y, one row for each name and one for "unknown", is concatenated with
    z. Without labels there is no embedding.

    Hints: colors that a user gives for some pixels enter the decoder at every level (`model.networks.hints`).
    Output: a and b themselves (`regression`), or the annealed mean of a distribution over bins of the ab plane
    (`classes`, see `model.networks.classes`). There is one temperature, for training and use, so every loss of the
    colorings, the discriminator's above all, judges what users will see; the classes' own loss knows no temperature.

    Attributes:
        config: the generator's section of the configuration.
        chroma_slope: strength of the chroma correction in `model.inference.predict`; `model.training.calibration`
            sets it.
        temperature: of the annealed mean; at first the configuration's.
    """

    def __init__(self, config: GeneratorConfig, encoder_weights: Weights | None = None) -> None:
        """Builds the layers and initializes their weights.

        Args:
            config: encoder, channels, levels, noise and labels.
            encoder_weights: initial weights of a pretrained encoder; None if a trained generator is loaded afterwards.

        Raises:
            UserError: the weights belong to another network.
        """
        super().__init__()
        self.config = config
        self.chroma_slope = 0.0
        self.temperature = config.temperature
        self.encoder: Convolutions | Pretrained
        self.normalise = nn.ModuleList()
        if config.encoder == "none":
            self.encoder = Convolutions(config)
            self.encoder.apply(initialize)
        else:
            self.encoder = Pretrained(config.encoder, encoder_weights)
        self._joins = [config.skip and width > 0 for width in self.encoder.widths[:-1]] + [False]
        if config.encoder != "none":  # only what the decoder reads: several processes train no unused parameter
            read = [*self._joins[:-1], True]
            for width, reads in zip(self.encoder.widths, read, strict=True):
                self.normalise.append(norm(config.norm, width) if reads else nn.Identity())
        joined = [width if joins else 0 for width, joins in zip(self.encoder.widths, self._joins, strict=True)]
        self.embed = nn.Embedding(len(config.labels) + 1, config.noise_size) if config.labels else None
        modulated_by = config.noise_size * ((config.noise == "gaussian") + (self.embed is not None))
        self.decoder = nn.ModuleList()
        width, states = self.encoder.widths[-1], []
        for level in reversed(range(1, config.levels)):
            narrower = config.channels * min(2 ** (level - 1), 8)
            drop = config.noise == "dropout" and config.levels - 1 - level < _DROPOUT_BLOCKS
            self.decoder.append(_Up(width + joined[level], narrower, config, modulated_by, drop))
            states.append(width)
            width = narrower
        self.to_ab: nn.Sequential | Classes
        if config.output == "classes":
            self.to_ab = Classes(width + joined[0])
        else:
            self.to_ab = nn.Sequential(doubling(width + joined[0], 2, config.upsample), nn.Tanh())
        self.decoder.apply(initialize)
        self.to_ab.apply(initialize)
        self.hints = HintPyramid([width, *reversed(states)]) if config.hints else None
        if isinstance(self.to_ab, Classes):
            self.to_ab.begin_faint()

    def forward(
        self,
        L: Tensor,
        z: Tensor | None = None,
        y: Tensor | None = None,
        hints: Tensor | None = None,
        *,
        logits: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Colors a batch.

        Args:
            L: (B, 1, H, W) in -1..1; H and W multiples of 2 ** levels.
            z: (B, noise_size) for gaussian noise, otherwise ignored.
            y: (B,) int64: each label's index in `config.labels`, -1 for unknown; None for all unknown. Ignored by a
                generator without labels.
            hints: (B, 3, H, W) float32: a and b in -1..1 where the mask, the third channel, is 1, and any finite values
                where it is 0; None for no hints. Ignored by a generator without hints.
            logits: whether to return the bins' logits, too; for the output `classes`.

        Returns:
            ab (B, 2, H, W) in -1..1; multiply by `model.color.AB_SCALE` for CIELAB units. With `logits`, a pair: ab and
            the logits (B, Q, H / 2, W / 2) float32.

        Raises:
            ValueError: z is missing for gaussian noise, or a side is not a multiple of 2 ** levels.
        """
        multiple = 2**self.config.levels
        if L.shape[-1] % multiple or L.shape[-2] % multiple:
            raise ValueError(f"height and width must be multiples of {multiple}, got {tuple(L.shape[-2:])}")
        if self.config.noise == "gaussian" and z is None:
            raise ValueError("this generator needs z: (B, noise_size)")
        condition = self._condition(z, y, len(L))
        features = self.encoder(L)
        for level, normalise in enumerate(self.normalise):
            features[level] = normalise(features[level])
        seen = self._seen(hints, L)
        x = self._hinted(features[-1], seen, self.config.levels - 1)
        for level, block in zip(reversed(range(1, self.config.levels)), self.decoder, strict=True):
            x = block(torch.cat((x, features[level]), dim=1) if self._joins[level] else x, condition)
            x = self._hinted(x, seen, level - 1)
        found: Tensor = self.to_ab(torch.cat((x, features[0]), dim=1) if self._joins[0] else x)
        if not isinstance(self.to_ab, Classes):
            return found
        ab = self.to_ab.mean(found, self.temperature)
        return (ab, found) if logits else ab

    def _seen(self, hints: Tensor | None, L: Tensor) -> list[Tensor]:
        """Returns what each level sees of the hints; nothing for a generator without hints."""
        if self.hints is None:
            return []
        return self.hints.pyramid(L.new_zeros(len(L), 3, *L.shape[-2:]) if hints is None else hints)

    def _hinted(self, x: Tensor, seen: list[Tensor], level: int) -> Tensor:
        """Returns the decoder's state before a level with what the hints add to it."""
        if self.hints is None:
            return x
        hinted: Tensor = self.hints(x, seen[level], level)
        return hinted

    def _seen(self, hints: Tensor | None, L: Tensor) -> list[Tensor]:
        """Returns what each level sees of the hints; nothing for a generator without hints."""
        if self.hints is None:
            return []
        return self.hints.pyramid(L.new_zeros(len(L), 3, *L.shape[-2:]) if hints is None else hints)

    def _hinted(self, x: Tensor, seen: list[Tensor], level: int) -> Tensor:
        """Returns the decoder's state before a level with what the hints add to it."""
        if self.hints is None:
            return x
        hinted: Tensor = self.hints(x, seen[level], level)
        return hinted

    def _condition(self, z: Tensor | None, y: Tensor | None, batch: int) -> Tensor | None:
        """Concatenates z and the labels' embeddings: (batch, noise_size) or twice as wide; None without either."""
        z = z if self.config.noise == "gaussian" else None
        if self.embed is None:
            return z
        unknown = len(self.config.labels)
        rows = torch.full((batch,), unknown, device=self.embed.weight.device)
        label: Tensor = self.embed(rows if y is None else torch.where(y < 0, rows, y))
        return label if z is None else torch.cat((z, label), dim=1)

    def sample_noise(self, batch: int, rng: torch.Generator) -> Tensor | None:
        """Draws z from N(0, 1): (batch, noise_size) float32 on the CPU; None unless the noise is gaussian."""
        if self.config.noise != "gaussian":
            return None
        return torch.randn(batch, self.config.noise_size, generator=rng)


class _Up(nn.Module):
    """Doubles the side, normalizes, scales and shifts by z and label, drops out as pix2pix does, and rectifies."""

    def __init__(self, channels_in: int, channels_out: int, config: GeneratorConfig, modulated_by: int, drop: bool):
        super().__init__()
        self.enlarge = doubling(channels_in, channels_out, config.upsample)
        self.norm = norm(config.norm, channels_out)
        self.modulate = nn.Linear(modulated_by, 2 * channels_out) if modulated_by else None
        self.drop = drop

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        x = self.norm(self.enlarge(x))
        if self.modulate is not None:
            scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
            x = x * (1 + scale) + shift
        return F.relu(F.dropout(x, 0.5, training=True) if self.drop else x)
