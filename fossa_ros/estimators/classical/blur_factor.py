"""How fast blur grows in a stack, relative to what is said of its lens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fossa_ros.estimators.classical.depth_profile import _parabola
from fossa_ros.estimators.classical.stack_likelihood import LensLikelihood, StackLikelihood

STEP = math.sqrt(2.0)  # ratio of neighbouring factors
REACH = 20  # steps up and down from 1: a factor of a thousand
BLOCKS = (4, 3)  # columns and rows of the view whose disagreement is the uncertainty
MODEL_UNCERTAINTY = 0.07  # of ln(factor), of discs that are not those of the lens: benchmarks/stack_check.py
TWO_PLANES = 0.25  # likewise, of stacks without a third plane that would fix depth and blur


@dataclass(frozen=True)
class BlurFactor:
    """Blur found in a stack over blur expected.

    Attributes:
        factor: 1 where blur grows per dioptre as expected; NaN where it cannot be told.
        uncertainty: standard deviation of ln(factor), infinite where the factor is only a bound.
    """

    factor: float
    uncertainty: float

    def departs(self, ratio: float, sigmas: float = 3.0) -> bool:
        """Return whether the factor is certainly beyond 1 / ratio .. ratio."""
        return abs(math.log(self.factor)) - sigmas * self.uncertainty > math.log(ratio)


class FactorProfile:
    """The likelihood of blur factors of one stack, each computed when it is first needed.

    Args:
        likelihood: of the stack.
        focus: (N,) dioptres.
        gains: (N,) expected blur radius per dioptre, px / D.
    """

    def __init__(self, likelihood: StackLikelihood, focus: np.ndarray, gains: np.ndarray):
        self._likelihood, self._focus, self._gains = likelihood, focus, gains
        self._known: dict[int, LensLikelihood] = {}

    def at(self, step: int) -> LensLikelihood:
        """Return the log-likelihoods of the factor STEP**step."""
        if step not in self._known:
            self._known[step] = self._likelihood.under(self._focus, self._gains * STEP**step)
        return self._known[step]

    def mean(self, step: int) -> float:
        """Return the mean log-likelihood of the textured pixels, averaged over all depths."""
        return float(self.at(step).averaged.mean())

    def best(self) -> int:
        """Return the most likely step: the best of octaves, then of their halves."""
        octaves = list(range(-4, 5, 2))
        best = max(octaves, key=self.mean)
        direction = 2 if best > 0 else -2
        while best in (octaves[0], octaves[-1]) and abs(best) < REACH and self.mean(best + direction) > self.mean(best):
            best += direction
            octaves = [min(best, *octaves), max(best, *octaves)]
        return max((best - 1, best, best + 1), key=self.mean)

    def factor(self) -> BlurFactor:
        """Return the most likely factor; its uncertainty is that of leaving out parts of the view in turn."""
        best = self.best()
        around = np.array([self.at(best + k).best for k in (-1, 0, 1)])
        if abs(best) >= REACH:
            return BlurFactor(STEP**best, math.inf)
        rows, columns = (self._likelihood.position * np.array(BLOCKS[::-1])).astype(int).T
        sums = np.array([np.bincount(rows * BLOCKS[0] + columns, each, math.prod(BLOCKS)) for each in around])
        used = sums[:, np.bincount(rows * BLOCKS[0] + columns, minlength=math.prod(BLOCKS)) > 0]
        shift, _ = _parabola(*around.sum(axis=1))
        uncertainty = math.log(STEP)
        if (count := used.shape[1]) > 2:
            without, _ = _parabola(*(used.sum(axis=1, keepdims=True) - used))
            uncertainty *= math.sqrt((count - 1) * np.var(without))
        model = MODEL_UNCERTAINTY if len(self._focus) > 2 else TWO_PLANES
        return BlurFactor(STEP ** float(best + shift), math.hypot(uncertainty, model))
