"""Exponential moving average of a network's weights."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)


class Ema(Generic[N]):
    """Averages weights: average <- beta * average + (1 - beta) * weights, with beta = 0.5 ** (images / half_life).

    A half-life in images keeps its meaning when the batch size changes (Karras et al. 2022, "Elucidating the Design
    Space of Diffusion-Based Generative Models", uses one too). Buffers are copied.

    Attributes:
        network: copy in eval mode, without gradients, that holds the average.
    """

    def __init__(self, network: N, half_life: int) -> None:
        """Starts at the network's present weights; half_life is in images, above 0."""
        self.network: N = copy.deepcopy(network).requires_grad_(False).eval()
        self._half_life = half_life

    @torch.no_grad()
    def update(self, network: N, images: int) -> None:
        """Moves the average towards the weights of a network that has seen this number of further images."""
        new = 1 - 0.5 ** (images / self._half_life)
        averages: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(averages, list(network.parameters()), new)
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)
