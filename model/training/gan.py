"""One step of training: the discriminator's move, then the generator's, with all that a step changes."""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model.color import AB_SCALE, decode_lab, to_network
from model.config import TrainConfig
from model.data.batches import share
from model.losses import discriminator_loss, diversity_loss, generator_adversarial_loss, reconstruction_loss
from model.networks.discriminator import Discriminator
from model.networks.generator import Generator
from model.training.distributed import Processes
from model.training.ema import Average
from model.training.state import below
from model.utils.seeds import seed_of, seeded

N = TypeVar("N", bound=nn.Module)


class Game:
    """Both players, their optimisers and the generator's average.

    Warm-up: the generator alone learns to reconstruct. After it, every term of the objective that is switched on
    counts. Diversity waits for the end of the warm-up too: with nobody to tell a plausible second coloring from a
    wrong one, it would only work against the reconstruction.

    Attributes:
        slowdown: factor of all learning rates, on top of their decay.
    """

    def __init__(self, config: TrainConfig, generator: Generator, processes: Processes) -> None:
        """
        Args:
            config: of the training.
            generator: to begin with, the same in every process; it is trained in place.
            processes: that train together.
        """
        self._config, self._processes = config, processes
        self.slowdown = 1.0
        self._device = processes.device
        bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and self._device.type == "cuda")
        self._autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=bfloat16)

        self._generator = self._place(generator)
        self._average = Average(self._generator, config.ema_half_life) if config.ema_half_life else None
        pretrained = config.generator.encoder != "none"
        if pretrained and not config.encoder_learning_rate:
            self._generator.encoder.requires_grad_(False)
        encoder: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in self._generator.named_parameters():
            (encoder if pretrained and name.startswith("encoder.") else rest).append(parameter)
        self._generator_adam = self._adam((rest, config.learning_rate), (encoder, config.encoder_learning_rate))
        self._color = self._parallel(self._generator)

        self._discriminator: Discriminator | None = None
        if config.objective.adversarial != "none":
            torch.manual_seed(config.seed)
            discriminator = self._place(Discriminator(config.discriminator, len(config.generator.labels)))
            self._discriminator = discriminator
            self._discriminator_adam = self._adam((discriminator.parameters(), config.discriminator_learning_rate))
            self._judge = self._parallel(discriminator)

    @property
    def trained(self) -> Generator:
        """The generator for use, in eval mode while nobody plays: the average when one is kept."""
        return self._average.network if self._average else self._generator.eval()

    def play(self, stored: Tensor, images: int, y: Tensor | None = None) -> dict[str, Tensor]:
        """One step.

        Args:
            stored: (share, 3, crop, crop) uint8, this process's share of the batch.
            images: seen before this step. Noise and learning rates follow from it.
            y: (share,) int64, the photographs' labels (see `Generator.forward`); needed where the generator has labels.

        Returns:
            Float32 scalars on the device: each loss before its weight, `d_accuracy` (share of patches that D judges
            right before its move), `ab_spread` (standard deviation of a generated photograph's a and b, in CIELAB
            units, mean over photographs: 0 is gray), `ab_spread_real` (of the photographs' own), `z_sensitivity` (mean
            |difference| of two colorings with different z, in CIELAB units: 0 where z is ignored).
        """
        objective = self._config.objective
        warm_up = images < self._config.warmup_images
        self._set_learning_rates(images)
        L, ab = to_network(decode_lab(stored.to(self._device, non_blocking=True)))
        L, ab = L.contiguous(), ab.contiguous(memory_format=torch.channels_last)
        y = y.to(self._device, non_blocking=True) if y is not None and self._config.generator.labels else None
        z = self._noise(images)
        # A quarter of the photographs is colored a second time, with other noise, in the same pass.
        again = slice(0, len(L) if objective.diversity_weight and z is not None and not warm_up else 0, 4)
        self._generator.train()
        with self._autocast:
            fake = self._color(
                torch.cat((L, L[again])),
                None if z is None else torch.cat((z[0], z[1][again])),
                None if y is None else torch.cat((y, y[again])),
            )
        fake, second = fake[: len(L)].float(), fake[len(L) :].float()

        watched = {"ab_spread": _spread(fake.detach()), "ab_spread_real": _spread(ab)}
        losses: dict[str, Tensor] = {}
        total = torch.zeros((), device=self._device)
        if objective.reconstruction != "none":
            losses["reconstruction"] = reconstruction_loss(objective.reconstruction, fake, ab)
            total = total + objective.reconstruction_weight * losses["reconstruction"]
        if z is not None and len(second):
            losses["diversity"] = diversity_loss(
                fake[again], second, z[0][again], z[1][again], objective.diversity_limit
            )
            total = total + objective.diversity_weight * losses["diversity"]
            watched["z_sensitivity"] = AB_SCALE * (fake.detach()[again] - second.detach()).abs().mean()
        if self._discriminator is not None and not warm_up:
            losses["discriminator"], losses["d_accuracy"] = self._discriminator_move(L, ab, fake.detach(), y)
            self._discriminator.requires_grad_(False)  # no gradients of weights that this move leaves alone
            with self._autocast:
                logits = self._discriminator(L, fake, y)
            self._discriminator.requires_grad_(True)
            losses["adversarial"] = generator_adversarial_loss(objective.adversarial, logits.float())
            total = total + objective.adversarial_weight * losses["adversarial"]
        self._descend(total, self._generator, self._generator_adam)
        if self._average is not None:
            self._average.update(self._generator, self._config.batch_size)
        return {name: loss.detach() for name, loss in losses.items()} | watched

    def learning_rates(self, images: int) -> tuple[float, float]:
        """Of the generator and of the discriminator, at a position."""
        factor = self.slowdown * decay(self._config, images)
        return self._config.learning_rate * factor, self._config.discriminator_learning_rate * factor

    def tensors(self) -> dict[str, Tensor]:
        """Everything a step changes, by name; no copies."""
        return dict(self._tensors())

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `tensors` gave, on any device."""
        for name, network in self._networks():
            network.load_state_dict(below(tensors, name))
        for _, _, adam in self._adams():
            adam.state.clear()  # the warm-up knows no moments of the discriminator
        for name, network, adam in self._adams():
            parameters = dict(network.named_parameters())
            for key, value in below(tensors, name).items():
                parameter_name, _, moment = key.rpartition(".")
                parameter = parameters[parameter_name]
                # Moments in their parameter's memory format, which the fused Adam takes for granted.
                like = torch.empty_like(parameter) if value.dim() else torch.empty((), device=self._device)
                adam.state[parameter][moment] = like.copy_(value)
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"])

    def _discriminator_move(self, L: Tensor, ab: Tensor, fake: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        assert self._discriminator is not None
        with self._autocast:
            on_real, on_fake = self._judge(L, ab, y), self._judge(L, fake, y)
        on_real, on_fake = on_real.float(), on_fake.float()
        kind = self._config.objective.adversarial
        loss = discriminator_loss(kind, on_real, on_fake)
        self._descend(loss, self._discriminator, self._discriminator_adam)
        border = 0.5 if kind == "lsgan" else 0.0  # between the targets 0 and 1; a logit's even odds
        right = ((on_real > border).float().mean() + (on_fake < border).float().mean()) / 2
        return loss, right

    def _descend(self, loss: Tensor, network: nn.Module, adam: torch.optim.Adam) -> None:
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._config.clip_gradient:
            nn.utils.clip_grad_norm_(network.parameters(), self._config.clip_gradient)
        adam.step()

    def _noise(self, images: int) -> Tensor | None:
        """Two z for this process, (2, share, noise_size). Seeds dropout too, which draws from the global generator."""
        config, processes = self._config, self._processes
        step = images // config.batch_size
        torch.manual_seed(seed_of(config.seed, "dropout", step, processes.rank))
        draws = seeded(config.seed, "z", step)
        mine = share(config.batch_size, processes.rank, processes.count)
        z = self._generator.sample_noise(2 * config.batch_size, draws)
        return None if z is None else z.view(2, config.batch_size, -1)[:, mine].to(self._device)

    def _set_learning_rates(self, images: int) -> None:
        factor = self.slowdown * decay(self._config, images)
        for _, _, adam in self._adams():
            for group in adam.param_groups:
                group["lr"] = factor * group["initial_lr"]

    def _place(self, network: N) -> N:
        if self._processes.count > 1 and self._device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        network.to(self._device).to(memory_format=torch.channels_last)  # in place
        return network

    def _parallel(self, network: nn.Module) -> nn.Module:
        """Averages the gradients over the processes."""
        if self._processes.count == 1:
            return network
        with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # the argument's new name is too new
            return DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True)

    def _adam(self, *groups: tuple[Iterable[nn.Parameter], float]) -> torch.optim.Adam:
        """Of parameters and their learning rates before decay."""
        filled = [(list(parameters), rate) for parameters, rate in groups]
        described = [{"params": held, "lr": rate, "initial_lr": rate} for held, rate in filled if held and rate]
        return torch.optim.Adam(described, betas=self._config.betas, fused=True)

    def _networks(self) -> Iterator[tuple[str, nn.Module]]:
        yield "generator", self._generator
        if self._average is not None:
            yield "average", self._average.network
        if self._discriminator is not None:
            yield "discriminator", self._discriminator

    def _adams(self) -> Iterator[tuple[str, nn.Module, torch.optim.Adam]]:
        yield "generator_adam", self._generator, self._generator_adam
        if self._discriminator is not None:
            yield "discriminator_adam", self._discriminator, self._discriminator_adam

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, network in self._networks():
            for key, value in network.state_dict().items():
                yield f"{name}.{key}", value
        for name, network, adam in self._adams():
            for key, parameter in network.named_parameters():
                for moment, value in adam.state[parameter].items():
                    yield f"{name}.{key}.{moment}", value
        yield "random.cpu", torch.get_rng_state()
        if self._device.type == "cuda":
            yield "random.cuda", torch.cuda.get_rng_state()


def _spread(ab: Tensor) -> Tensor:
    """Of (B, 2, H, W) in -1..1: the standard deviation over a photograph's pixels, in CIELAB units, mean over all."""
    return AB_SCALE * ab.flatten(2).std(dim=2).mean()


def decay(config: TrainConfig, images: int) -> float:
    """The factor of both learning rates at a position: 1 up to `decay_from`, then down to 0 at the end."""
    start = config.decay_from * config.images
    if config.decay == "none" or images <= start:
        return 1.0
    gone = (images - start) / (config.images - start)
    return 1 - gone if config.decay == "linear" else (1 + math.cos(math.pi * gone)) / 2
