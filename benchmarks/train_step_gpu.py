"""A training step on a GPU, one means of speed added after the other: `python -m benchmarks.train_step_gpu`.

The networks, batch and objective are params.yaml's, the batch stays in memory (`benchmarks.reading` is about the rest).
Where there is no GPU it says so and writes that it has not been run.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import FOLDER, ROOT, write
from model.color import decode_lab, to_network
from model.config import TrainConfig, load_config
from model.losses import discriminator_loss, diversity_loss, generator_adversarial_loss, reconstruction_loss
from model.networks.discriminator import Discriminator
from model.training.start import new_generator

_SIDE = 8192  # of the matrices whose product tells what the card can do


@dataclass(frozen=True)
class Setting:
    """What a step is built with."""

    name: str
    tf32: bool = True
    bfloat16: bool = True
    channels_last: bool = True
    fused: bool = True
    compile: bool = False
    graph: bool = False


SETTINGS = (
    Setting("float32", tf32=False, bfloat16=False, channels_last=False, fused=False),
    Setting("+ TF32", bfloat16=False, channels_last=False, fused=False),
    Setting("+ bfloat16", channels_last=False, fused=False),
    Setting("+ channels-last", fused=False),
    Setting("+ fused Adam"),  # what the training loop does
    Setting("+ torch.compile", compile=True),
    Setting("+ CUDA graphs", compile=True, graph=True),
)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Times that blocks of 10 steps are timed.")] = 10,
    result: Annotated[Path, typer.Option(help="Where the figures go.")] = FOLDER / "train_step_gpu.json",
) -> None:
    """Measures every setting on a GPU; without one, writes why not."""
    if not torch.cuda.is_available():
        why = "no GPU: torch.cuda.is_available() is false on this machine"
        write(result, {}, run=False, why=why)
        print(f"train_step_gpu was not run: {why}.")
        return
    config = load_config(ROOT / "params.yaml").train
    device = torch.device("cuda")
    stored = torch.randint(60, 190, (config.batch_size, 3, config.crop, config.crop), dtype=torch.uint8, device=device)
    peak = matrix_product_rate(device)
    flop = operations(config, stored)
    figures, rows = {}, []
    for setting in SETTINGS:
        try:
            seconds = measure(ready_step(config, setting, stored), rounds)
        except Exception as error:  # the next one may work all the same; the figures say which did not
            rows.append({"setting": setting.name, "failed": f"{type(error).__name__}: {error}"[:500]})
            print(f"{setting.name} failed: {error}")
            continue
        finally:
            torch.compiler.reset()
            torch.cuda.empty_cache()
        step = median(seconds)
        figures[f"{setting.name}: images/s"] = round(config.batch_size / step, 1)
        achieved = flop / step
        rows.append({"setting": setting.name, "seconds": step, "tflops": achieved / 1e12, "of_peak": achieved / peak})
    color = measure(lambda: to_network(decode_lab(stored)), rounds)
    steps = {row["setting"]: row["seconds"] for row in rows if "seconds" in row}
    if steps:
        fastest = min(steps, key=steps.__getitem__)
        figures["fastest: share of bfloat16 matrix products' rate"] = round(flop / steps[fastest] / peak, 3)
        figures["fastest: share of LAB conversion"] = round(median(color) / steps[fastest], 4)
    details = {"matrix_product_tflops": peak / 1e12, "flop_per_step": flop, "lab_conversion_seconds": median(color)}
    card = torch.cuda.get_device_name()
    write(result, figures, run=True, device=card, torch=torch.__version__, **details, rows=rows)


def build_step(
    config: TrainConfig, setting: Setting, stored: Tensor, backend: str = "inductor"
) -> Callable[[], Tensor]:
    """A step of the full game on one batch, as `model.training.gan` plays it; it returns the generator's loss.

    Args:
        config: of the training.
        setting: what to use; `graph` is `ready_step`'s.
        stored: (B, 3, crop, crop) uint8 on the device to be used.
        backend: of torch.compile.
    """
    torch.set_float32_matmul_precision("high" if setting.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = setting.tf32
    torch.backends.cudnn.benchmark = True
    device, objective = stored.device, config.objective
    layout = torch.channels_last if setting.channels_last else torch.contiguous_format
    G, D = new_generator(config), Discriminator(config.discriminator)
    for network in (G, D):
        network.to(device).to(memory_format=layout).train()
    adam_G, adam_D = (
        torch.optim.Adam(network.parameters(), rate, config.betas, fused=setting.fused, capturable=setting.graph)
        for network, rate in ((G, config.learning_rate), (D, config.discriminator_learning_rate))
    )
    color, judge = ((torch.compile(n, backend=backend) if setting.compile else n) for n in (G, D))
    autocast = torch.autocast(device.type, torch.bfloat16) if setting.bfloat16 else nullcontext()
    again = slice(0, len(stored), 4)

    def descend(loss: Tensor, network: nn.Module, adam: torch.optim.Adam) -> None:
        adam.zero_grad(set_to_none=True)
        loss.backward()
        if config.clip_gradient:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_gradient)
        adam.step()

    def step() -> Tensor:
        L, ab = to_network(decode_lab(stored))
        L, ab = L.contiguous(), ab.contiguous(memory_format=layout)
        first, other = torch.randn(2, len(stored), config.generator.noise_size, device=device)
        with autocast:
            fake = color(torch.cat((L, L[again])), torch.cat((first, other[again])))
        fake, second = fake[: len(L)].float(), fake[len(L) :].float()
        with autocast:
            on_real, on_fake = judge(L, ab), judge(L, fake.detach())
        descend(discriminator_loss(objective.adversarial, on_real.float(), on_fake.float()), D, adam_D)
        D.requires_grad_(False)
        with autocast:
            logits = judge(L, fake)
        D.requires_grad_(True)
        loss = objective.adversarial_weight * generator_adversarial_loss(objective.adversarial, logits.float())
        loss = loss + objective.reconstruction_weight * reconstruction_loss(objective.reconstruction, fake, ab)
        apart = diversity_loss(fake[again], second, first[again], other[again], objective.diversity_limit)
        loss = loss + objective.diversity_weight * apart
        descend(loss, G, adam_G)
        return loss.detach()

    return step


def ready_step(config: TrainConfig, setting: Setting, stored: Tensor) -> Callable[[], object]:
    """The step on a GPU, warmed up and, where the setting says so, captured whole as a CUDA graph."""
    step = build_step(config, setting, stored)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # a capture asks for it; compiling and cuDNN's search happen here too
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    if not setting.graph:
        return step
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure(step: Callable[[], object], rounds: int, block: int = 10) -> list[float]:
    """Seconds a call, of each round."""
    seconds = []
    for turn in range(rounds + 1):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(block):
            step()
        torch.cuda.synchronize()
        if turn:
            seconds.append((time.perf_counter() - started) / block)
    return seconds


def operations(config: TrainConfig, stored: Tensor) -> int:
    """Floating-point operations of a step, forward and backward, as torch counts them."""
    step: Any = build_step(config, SETTINGS[0], stored)
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def matrix_product_rate(device: torch.device, side: int = _SIDE, rounds: int = 10) -> float:
    """Floating-point operations a second of a product of two square bfloat16 matrices: what the card does at best."""
    a, b = torch.randn(2, side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / min(measure(lambda: a @ b, rounds))


if __name__ == "__main__":
    typer.run(main)
