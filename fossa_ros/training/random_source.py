"""Random numbers that are the same on every device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

Option = TypeVar("Option")


class RandomSource:
    """Random numbers; all but noise are drawn on the CPU, so that a seed gives the same scene on every device."""

    def __init__(self, *seed: int):
        mixed = 0
        for part in seed:  # a linear congruence, so that neighbouring seeds are unrelated
            mixed = (mixed * 6364136223846793005 + 1442695040888963407 + part) % 2**63
        self.generator = torch.Generator().manual_seed(mixed)
        self._seed = mixed
        self._on_device: dict[str, torch.Generator] = {}

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw a uniformly distributed number."""
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def log_uniform(self, low: float, high: float) -> float:
        """Draw a number whose logarithm is uniformly distributed."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def integer(self, low: int, high: int) -> int:
        """Draw an integer, both ends included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return self.uniform() < probability

    def choice(self, options: Sequence[Option]) -> Option:
        """Draw an element of a sequence."""
        return options[self.integer(0, len(options) - 1)]

    def rand(self, *shape: int) -> Tensor:
        """Draw (shape) float32, uniform in 0..1."""
        return torch.rand(shape, generator=self.generator)

    def randn(self, *shape: int) -> Tensor:
        """Draw (shape) float32 of the standard normal distribution."""
        return torch.randn(shape, generator=self.generator)

    def noise(self, *shape: int, device: torch.device | str) -> Tensor:
        """Draw (shape) float32 of the standard normal distribution on a device, without a transfer."""
        name = str(device)
        if name not in self._on_device:
            self._on_device[name] = torch.Generator(device).manual_seed(self._seed)
        return torch.randn(shape, generator=self._on_device[name], device=device)

    def permutation(self, count: int) -> Tensor:
        """Draw a permutation of 0 to count - 1."""
        return torch.randperm(count, generator=self.generator)
