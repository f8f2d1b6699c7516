"""One training step of the conditional GAN: which networks it updates follows from the phase."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model.color import AB_SCALE, decode_lab, to_network
from model.config import TrainConfig
from model.data.batches import Batch, share
from model.data.hints import random_hints
from model.losses import (
    balanced_weight,
    discriminator_loss,
    diversity_loss,
    generator_adversarial_loss,
    judged_right,
    reconstruction_loss,
)
from model.networks.discriminator import Discriminator
from model.networks.generator import Generator
from model.training.classes import classes_loss
from model.training.distributed import ProcessGroup
from model.training.ema import Ema
from model.training.meters import below, spread
from model.training.schedule import Phase, Schedule
from model.utils.seeds import seed_of, seeded

N = TypeVar("N", bound=nn.Module)


class GanTrainer:
    """Holds both networks, their optimizers and the generator's average, and trains them a step at a time.

    The warm-up trains the generator alone, on reconstruction and classes, the next phase the discriminator alone. Then
    both learn, and every term of the objective with a weight counts. Diversity waits for this phase, too: without a
    discriminator that tells plausible second colorings from wrong ones, it would only work against the reconstruction.

    Attributes:
        phase: of the last step.
        learning_rates: of generator and discriminator in the last step; 0 for a network that rested.
    """

    def __init__(
        self, config: TrainConfig, generator: Generator, dist: ProcessGroup, colors: Tensor | None = None
    ) -> None:
        """
        Args:
            config: of the training.
            generator: to begin with, the same in every process; it is trained in place.
            dist: the processes that train.
            colors: what `classes.ab_counts` returned for the photographs; without it, all classes have one weight.
        """
        self._config, self._dist, self._device = config, dist, dist.device
        self._schedule = Schedule(config)
        self.phase, self.learning_rates = self._schedule.phase(0), self._schedule.learning_rates(0)
        bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and self._device.type == "cuda")
        self._autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=bfloat16)
        self._classes_loss = classes_loss(config.objective, colors, self._device)

        self._generator = self._place(generator)
        self._ema = Ema(self._generator, config.ema_half_life) if config.ema_half_life else None
        pretrained = config.generator.encoder != "none"
        if pretrained and not config.encoder_learning_rate:
            self._generator.encoder.requires_grad_(False)
        encoder, rest = list[nn.Parameter](), list[nn.Parameter]()
        for name, parameter in self._generator.named_parameters():
            (encoder if pretrained and name.startswith("encoder.") else rest).append(parameter)
        self._generator_adam = self._adam((rest, config.learning_rate), (encoder, config.encoder_learning_rate))
        self._generator_ddp = self._parallel(self._generator)

        self._discriminator: Discriminator | None = None
        if config.objective.adversarial != "none":
            torch.manual_seed(config.seed)
            discriminator = self._place(Discriminator(config.discriminator, len(config.generator.labels)))
            self._discriminator = discriminator
            self._discriminator_adam = self._adam((discriminator.parameters(), config.discriminator_learning_rate))
            self._discriminator_ddp = self._parallel(discriminator)

    @property
    def averaged(self) -> Generator:
        """The generator for use, in eval mode: the moving average, or the generator itself where none is kept."""
        return self._ema.network if self._ema else self._generator.eval()

    def step(self, batch: Batch, images: int) -> dict[str, Tensor]:
        """Trains on one batch.

        Args:
            batch: this process's share of it. Its labels count where the generator has labels.
            images: images seen before this step. Phase, learning rates and noise follow from it.

        Returns:
            Float32 scalars on the device: each loss before its weight; `d_accuracy`, the share of patches that the
            discriminator judges right before its update; `ab_spread`, the standard deviation of a generated
            photograph's a and b in CIELAB units, mean over photographs (0 is gray); `ab_spread_real`, that of the
            photographs themselves; `z_sensitivity`, the mean |difference| of two colorings with different z in CIELAB
            units (0 where z is ignored); `adversarial_weight`, by which the adversarial loss was multiplied, and
            `adversarial_share`, the size of its gradient over the reconstruction's, both at the colorings.
        """
        # Set phase, learning rates and noise
        self._set_position(images)
        z = self._noise(images)

        # Move the batch to the device
        L, ab = to_network(decode_lab(batch.stored.to(self._device, non_blocking=True)))
        L, ab = L.contiguous(), ab.contiguous(memory_format=torch.channels_last)
        y = batch.y.to(self._device, non_blocking=True) if self._config.generator.labels else None
        hints = random_hints(ab, self._config, images, self._dist.rank, self._dist.count)
        return (self._critic_step if self.phase is Phase.CRITIC else self._full_step)(L, ab, y, z, hints)

    def is_finite(self) -> bool:
        """Returns True if every number that a step changes is finite."""
        floats = [tensor for tensor in self.tensors().values() if tensor.is_floating_point()]
        return bool(torch.stack([tensor.isfinite().all() for tensor in floats]).all())

    def tensors(self) -> dict[str, Tensor]:
        """Returns all that a step changes, by name, without copies."""
        tensors = {f"{name}.{key}": held for name, net in self._networks() for key, held in net.state_dict().items()}
        for name, network, adam in self._adams():
            for key, parameter in network.named_parameters():
                tensors |= {f"{name}.{key}.{moment}": held for moment, held in adam.state[parameter].items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self._device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores what `tensors` returned, from any device."""
        for name, network in self._networks():
            network.load_state_dict(below(tensors, name))
        for name, network, adam in self._adams():
            parameters = dict(network.named_parameters())
            for key, value in below(tensors, name).items():
                parameter_name, _, moment = key.rpartition(".")
                parameter = parameters[parameter_name]
                # Moments need their parameter's memory format, which the fused Adam takes for granted.
                like = torch.empty_like(parameter) if value.dim() else torch.empty((), device=self._device)
                adam.state[parameter][moment] = like.copy_(value)
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"])

    def _critic_step(
        self, L: Tensor, ab: Tensor, y: Tensor | None, z: Tensor | None, hints: Tensor | None
    ) -> dict[str, Tensor]:
        """Updates the discriminator alone: the generator and its average stay as they are."""
        with torch.no_grad(), self._autocast:
            fake = self._generator.eval()(L, None if z is None else z[0], y, hints).float()
        loss, right = self._discriminator_step(L, ab, fake, y)
        spreads = {"ab_spread": spread(fake), "ab_spread_real": spread(ab)}
        return {"discriminator": loss.detach(), "d_accuracy": right} | spreads

    def _full_step(
        self, L: Tensor, ab: Tensor, y: Tensor | None, z: Tensor | None, hints: Tensor | None
    ) -> dict[str, Tensor]:
        """Updates the generator, and in the adversarial phase the discriminator before it."""
        objective, adversarial = self._config.objective, self.phase is Phase.ADVERSARIAL

        # Color the photographs, a quarter of them twice with other noise in the same pass
        twice = slice(0, len(L) if objective.diversity_weight and z is not None and adversarial else 0, 4)
        fake, second, logits = self._generate(L, y, z, twice, hints)
        measures = {"ab_spread": spread(fake.detach()), "ab_spread_real": spread(ab)}

        # Compute the terms that need no discriminator
        losses: dict[str, Tensor] = {}
        total = torch.zeros((), device=self._device)
        if objective.reconstruction != "none":
            losses["reconstruction"] = reconstruction_loss(objective.reconstruction, fake, ab)
            total = total + objective.reconstruction_weight * losses["reconstruction"]
        if self._classes_loss is not None and logits is not None:
            losses["classes"] = self._classes_loss(logits, ab)
            total = total + objective.classes_weight * losses["classes"]
        if z is not None and len(second):
            limit = objective.diversity_limit
            losses["diversity"] = diversity_loss(fake[twice], second, z[0][twice], z[1][twice], limit)
            total = total + objective.diversity_weight * losses["diversity"]
            measures["z_sensitivity"] = AB_SCALE * (fake.detach()[twice] - second.detach()).abs().mean()

        # Update the discriminator, then ask it about the same colorings
        if self._discriminator is not None and adversarial:
            losses["discriminator"], losses["d_accuracy"] = self._discriminator_step(L, ab, fake.detach(), y)
            losses["adversarial"] = self._adversarial_loss(L, fake, y)
            pull, weights = self._pull(fake, losses)
            total = total + (pull * fake).sum()  # has the gradient of the weighted loss, without a second way through D
            measures |= weights

        # Update the generator and its average
        self._optimizer_step(total, self._generator, self._generator_adam)
        if self._ema is not None:
            self._ema.update(self._generator, self._config.batch_size)
        return {name: loss.detach() for name, loss in losses.items()} | measures

    def _set_position(self, images: int) -> None:
        self.phase, self.learning_rates = self._schedule.phase(images), self._schedule.learning_rates(images)
        for factor, (_, _, adam) in zip(self._schedule.factors(images), self._adams(), strict=False):
            for group in adam.param_groups:
                group["lr"] = factor * group["initial_lr"]

    def _noise(self, images: int) -> Tensor | None:
        """Draws two z for this process, (2, share, noise_size), and seeds dropout, which draws from the global
        generator."""
        config, dist = self._config, self._dist
        step = images // config.batch_size
        torch.manual_seed(seed_of(config.seed, "dropout", step, dist.rank))
        draws = seeded(config.seed, "z", step)
        mine = share(config.batch_size, dist.rank, dist.count)
        z = self._generator.sample_noise(2 * config.batch_size, draws)
        return None if z is None else z.view(2, config.batch_size, -1)[:, mine].to(self._device)

    def _generate(
        self, L: Tensor, y: Tensor | None, z: Tensor | None, twice: slice, hints: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns colorings with the first z, those of `twice` with the second, the first's logits if they count."""
        self._generator.train()
        wanted = {"logits": True} if self._classes_loss else {}
        with self._autocast:
            found = self._generator_ddp(
                torch.cat((L, L[twice])),
                None if z is None else torch.cat((z[0], z[1][twice])),
                None if y is None else torch.cat((y, y[twice])),
                None if hints is None else torch.cat((hints, hints[twice])),
                **wanted,
            )
        fake, logits = (found[0], found[1][: len(L)]) if wanted else (found, None)
        return fake[: len(L)].float(), fake[len(L) :].float(), logits

    def _discriminator_step(self, L: Tensor, ab: Tensor, fake: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Updates the discriminator; returns its loss and the share of patches that it judged right before."""
        assert self._discriminator is not None
        with self._autocast:
            on_real, on_fake = self._discriminator_ddp(L, ab, y), self._discriminator_ddp(L, fake, y)
        on_real, on_fake = on_real.float(), on_fake.float()
        kind = self._config.objective.adversarial
        loss = discriminator_loss(kind, on_real, on_fake)
        self._optimizer_step(loss, self._discriminator, self._discriminator_adam)
        return loss, judged_right(kind, on_real, on_fake)

    def _adversarial_loss(self, L: Tensor, fake: Tensor, y: Tensor | None) -> Tensor:
        assert self._discriminator is not None
        self._discriminator.requires_grad_(False)  # this loss changes the generator alone
        with self._autocast:
            logits = self._discriminator(L, fake, y)
        self._discriminator.requires_grad_(True)
        return generator_adversarial_loss(self._config.objective.adversarial, logits.float())

    def _pull(self, fake: Tensor, losses: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the gradient of the weighted adversarial loss at the colorings, and the figures of its weight."""
        objective = self._config.objective
        (pull,) = torch.autograd.grad(losses["adversarial"], fake)
        weight = torch.tensor(objective.adversarial_weight, device=self._device)
        if not objective.reconstructs:
            return weight * pull, {"adversarial_weight": weight}
        (main,) = torch.autograd.grad(losses["reconstruction"], fake, retain_graph=True)
        squares = torch.stack((main.square().sum(), pull.square().sum()))
        of_main, of_pull = self._dist.mean(squares).sqrt()  # over all processes: each has its share of the batch
        of_main = objective.reconstruction_weight * of_main
        if objective.adversarial_weighting == "gradient":
            weight = balanced_weight(objective.adversarial_weight, of_main, of_pull)
        return weight * pull, {"adversarial_weight": weight, "adversarial_share": weight * of_pull / of_main}

    def _optimizer_step(self, loss: Tensor, network: nn.Module, adam: torch.optim.Adam) -> None:
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._config.clip_gradient:
            nn.utils.clip_grad_norm_(network.parameters(), self._config.clip_gradient)
        adam.step()

    def _place(self, network: N) -> N:
        if self._dist.count > 1 and self._device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        network.to(self._device).to(memory_format=torch.channels_last)  # in place
        return network

    def _parallel(self, network: nn.Module) -> nn.Module:
        """Wraps a network so that its gradients are averaged over the processes."""
        if self._dist.count == 1:
            return network
        with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # the argument's new name is too new
            return DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True)

    def _adam(self, *groups: tuple[Iterable[nn.Parameter], float]) -> torch.optim.Adam:
        """Returns the optimizer of groups of parameters, each with its learning rate before decay."""
        filled = [(list(parameters), rate) for parameters, rate in groups]
        described = [{"params": held, "lr": rate, "initial_lr": rate} for held, rate in filled if held and rate]
        return torch.optim.Adam(described, betas=self._config.betas, fused=True)

    def _networks(self) -> Iterator[tuple[str, nn.Module]]:
        yield "generator", self._generator
        if self._ema is not None:
            yield "ema", self._ema.network
        if self._discriminator is not None:
            yield "discriminator", self._discriminator

    def _adams(self) -> Iterator[tuple[str, nn.Module, torch.optim.Adam]]:
        yield "generator_adam", self._generator, self._generator_adam
        if self._discriminator is not None:
            yield "discriminator_adam", self._discriminator, self._discriminator_adam
