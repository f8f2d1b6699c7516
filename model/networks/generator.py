"""The generator (U-Net, or the same without its skips) and the PatchGAN discriminator.

Shapes after Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks" (pix2pix).
Both take any height and width that is a multiple of 2 ** levels; `model.inference.predict` takes the rest.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import DiscriminatorConfig, GeneratorConfig
from model.networks.encoders import Convolutions, Pretrained
from model.networks.layers import norm
from model.networks.weights import Weights

_DROPOUT_BLOCKS = 3  # pix2pix drops out in the three decoder blocks nearest the bottleneck
_STRIDED_LAYERS = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}  # receptive field -> 4x4 convolutions of stride 2


class Generator(nn.Module):
    """Predicts a and b from L and noise z.

    Encoder: its own or a pretrained one (`model.networks.encoders`). Decoder: as many doublings as the encoder has
    levels, each joined with the encoder's features of the same side (`skip`). Those of a pretrained encoder, of any
    size, are normalised first.

    Noise: `gaussian` scales and shifts every decoder level after its normalisation (FiLM, Perez et al. 2018), since
    z that is only concatenated to the input gets ignored (pix2pix, section 3.1). `dropout` stays on at use.

    Labels: the embedding of a photograph's label y, one row for each name and one for "unknown", stands beside z and
    takes the same way. Without labels there is no embedding.

    Attributes:
        chroma_slope: how much `model.inference.predict` strengthens what comes out; set by
        `model.training.calibration`.
    """

    def __init__(self, config: GeneratorConfig, encoder_weights: Weights | None = None) -> None:
        """
        Args:
            config: its shape.
            encoder_weights: what a pretrained encoder begins with; None where a trained generator's will be loaded.

        Raises:
            UserError: the weights are of another network.
        """
        super().__init__()
        self.config = config
        self.chroma_slope = 0.0
        self.encoder: Convolutions | Pretrained
        self.normalise = nn.ModuleList()
        if config.encoder == "none":
            self.encoder = Convolutions(config)
            self.encoder.apply(_initialise)
        else:
            self.encoder = Pretrained(config.encoder, encoder_weights)
            for width in self.encoder.widths:
                self.normalise.append(norm(config.norm, width) if width else nn.Identity())
        self._joins = [config.skip and width > 0 for width in self.encoder.widths[:-1]] + [False]
        joined = [width if joins else 0 for width, joins in zip(self.encoder.widths, self._joins, strict=True)]
        self.embed = nn.Embedding(len(config.labels) + 1, config.noise_size) if config.labels else None
        modulated_by = config.noise_size * ((config.noise == "gaussian") + (self.embed is not None))
        self.decoder = nn.ModuleList()
        width = self.encoder.widths[-1]
        for level in reversed(range(1, config.levels)):
            narrower = config.channels * min(2 ** (level - 1), 8)
            drop = config.noise == "dropout" and config.levels - 1 - level < _DROPOUT_BLOCKS
            self.decoder.append(_Up(width + joined[level], narrower, config, modulated_by, drop))
            width = narrower
        self.to_ab = nn.Sequential(_doubling(width + joined[0], 2, config.upsample), nn.Tanh())
        self.decoder.apply(_initialise)
        self.to_ab.apply(_initialise)

    def forward(self, L: Tensor, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Colors a batch.

        Args:
            L: (B, 1, H, W) in -1..1; H and W multiples of 2 ** levels.
            z: (B, noise_size) for gaussian noise, otherwise ignored.
            y: (B,) int64, each photograph's label as its place in `config.labels`, -1 for unknown; None for all
                unknown. Ignored without labels.

        Returns:
            ab (B, 2, H, W) in -1..1; multiply by `model.color.AB_SCALE` for CIELAB units.

        Raises:
            ValueError: gaussian noise without z, or a side that does not divide.
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
        x = features[-1]
        for level, block in zip(reversed(range(1, self.config.levels)), self.decoder, strict=True):
            x = block(torch.cat((x, features[level]), dim=1) if self._joins[level] else x, condition)
        ab: Tensor = self.to_ab(torch.cat((x, features[0]), dim=1) if self._joins[0] else x)
        return ab

    def _condition(self, z: Tensor | None, y: Tensor | None, batch: int) -> Tensor | None:
        """What modulates the decoder: (batch, noise_size) or twice as wide; None where there is nothing."""
        z = z if self.config.noise == "gaussian" else None
        if self.embed is None:
            return z
        unknown = len(self.config.labels)
        rows = torch.full((batch,), unknown, device=self.embed.weight.device)
        label: Tensor = self.embed(rows if y is None else torch.where(y < 0, rows, y))
        return label if z is None else torch.cat((z, label), dim=1)

    def sample_noise(self, batch: int, rng: torch.Generator) -> Tensor | None:
        """z for a batch: (batch, noise_size) float32 on the CPU from N(0, 1), or None where z is no vector."""
        if self.config.noise != "gaussian":
            return None
        return torch.randn(batch, self.config.noise_size, generator=rng)


class _Up(nn.Module):
    """One decoder level: doubles the side, normalises, z and label scale and shift, drops out as pix2pix, rectifies."""

    def __init__(self, channels_in: int, channels_out: int, config: GeneratorConfig, modulated_by: int, drop: bool):
        super().__init__()
        self.enlarge = _doubling(channels_in, channels_out, config.upsample)
        self.norm = norm(config.norm, channels_out)
        self.modulate = nn.Linear(modulated_by, 2 * channels_out) if modulated_by else None
        self.drop = drop

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        x = self.norm(self.enlarge(x))
        if self.modulate is not None:
            scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
            x = x * (1 + scale) + shift
        return F.relu(F.dropout(x, 0.5, training=True) if self.drop else x)


class Discriminator(nn.Module):
    """PatchGAN: a logit for every overlapping patch of `receptive_field` pixels.

    For 1 pixel ("PixelGAN") all convolutions are 1x1; otherwise 4x4, of stride 2 as often as the field asks, then two
    of stride 1. No normalisation on the first and the last, but for `spectral`: every convolution divided by its
    largest singular value (Miyato et al. 2018).

    Labels, where there are any, come in by projection (Miyato and Koyama 2018, "cGANs with Projection Discriminator"):
    to each patch's logit is added the inner product of the label's embedding with the mean of the features that the
    logit is computed from. An unknown label adds nothing.
    """

    def __init__(self, config: DiscriminatorConfig, labels: int = 0) -> None:
        """
        Args:
            config: its shape.
            labels: how many there are.
        """
        super().__init__()
        self.config = config
        strided = _STRIDED_LAYERS[config.receptive_field]
        kernel, padding = self._kernel, self._padding = (4, 1) if strided else (1, 0)
        channels = 3 if config.conditional else 2
        strides = [2] * strided + [1] if strided else [1, 1]
        layers: list[nn.Module] = []
        for index, stride in enumerate(strides):
            width = config.channels * min(2**index, 8)
            layers.append(nn.Conv2d(channels, width, kernel, stride, padding))
            if index and config.norm not in ("none", "spectral"):
                layers.append(norm(config.norm, width))
            layers.append(nn.LeakyReLU(0.2))
            channels = width
        layers.append(nn.Conv2d(channels, 1, kernel, 1, padding))
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)
        self.embed = nn.Embedding(labels, channels) if labels else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, 0.0, 0.02)
        if config.norm == "spectral":
            for layer in list(self.modules()):
                if isinstance(layer, nn.Conv2d | nn.Embedding):
                    nn.utils.parametrizations.spectral_norm(layer)

    def forward(self, L: Tensor, ab: Tensor, y: Tensor | None = None) -> Tensor:
        """Judges patches: L (B, 1, H, W) and ab (B, 2, H, W), both in -1..1 -> logits (B, 1, h, w), real is high.

        An unconditional discriminator does not look at L. y as the generator's.
        """
        features = self.layers[:-1](torch.cat((L, ab), dim=1) if self.config.conditional else ab)
        logits: Tensor = self.layers[-1](features)
        if self.embed is None or y is None:
            return logits
        label = self.embed(y.clamp(min=0)) * (y >= 0)[:, None]
        projection = torch.einsum("bc,bchw->bhw", label, features)[:, None]
        return logits + F.avg_pool2d(projection, self._kernel, 1, self._padding)

    def receptive_field(self) -> int:
        """The side in pixels of the patch behind one logit, worked out from the layers' kernels and strides."""
        field, jump = 1, 1
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                field += (layer.kernel_size[0] - 1) * jump
                jump *= layer.stride[0]
        return field


def smallest_side(receptive_field: int) -> int:
    """The smallest image side in pixels that leaves a PatchGAN of this receptive field at least one logit."""
    strided = _STRIDED_LAYERS[receptive_field]
    return 3 * 2**strided if strided else 2


class _ResizeConv(nn.Conv2d):
    """Nearest-neighbour doubling, then a 3x3 convolution: no checkerboards (Odena et al. 2016, "Deconvolution and
    Checkerboard Artifacts"), since every output pixel gets the same number of terms.

    Computed as the one transposed convolution that equals both: its 4x4 kernel is the 3x3 kernel with every weight
    spread over the 2x2 pixels that share an input pixel. That is 4/9 of the multiplications, and the enlarged input is
    never held.
    """

    spread: Tensor

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3)
        spread = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        self.register_buffer("spread", spread, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = torch.einsum("ka,lb,oiab->iokl", self.spread, self.spread, self.weight)
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


def _doubling(channels_in: int, channels_out: int, upsample: str) -> nn.Module:
    if upsample == "transposed":
        return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)
    return _ResizeConv(channels_in, channels_out)


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02) for convolutions, as in pix2pix; biases zero; z's modulation starts near the identity."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
