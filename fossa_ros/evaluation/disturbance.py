"""Disturbances of a focus stack: shuffled planes, wrong focus distances, an unknown lens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane
from fossa_ros.evaluation.protocol import Sample


@dataclass(frozen=True)
class Disturbance:
    """Disturbances that are applied to every stack before it is estimated.

    Attributes:
        shuffled: whether to shuffle the planes.
        misstated: largest relative error of the focus distances; every plane has its own.
        blind: whether to remove f-number and focal length.
        seed: seed of order and errors, which differ from image to image.

    Raises:
        InputError: ``misstated`` is not in 0..1.
    """

    shuffled: bool = False
    misstated: float = 0.0
    blind: bool = False
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.misstated < 1:
            raise InputError(
                f"misstated, a relative error, must be from 0 to below 1, not {self.misstated}; correct it."
            )

    def as_dict(self) -> dict[str, float | bool]:
        """Return the active disturbances by name."""
        return {name: value for name, value in vars(self).items() if value and name != "seed"}

    def apply(self, sample: Sample, index: int) -> Sample:
        """Return image ``index`` of a set, disturbed."""
        rng = np.random.default_rng([self.seed, index])
        stack, unrounded = sample.stack, sample.unrounded
        order = rng.permutation(len(stack)) if self.shuffled else np.arange(len(stack))
        factors = 1 + self.misstated * rng.uniform(-1, 1, len(stack))
        planes = tuple(
            FocusPlane(stack.planes[i].image, float(stack.planes[i].focus_distance * factor))
            for i, factor in zip(order, factors, strict=True)
        )
        lens = {"f_number": None, "focal_length": None} if self.blind else {}
        stack = replace(stack, planes=planes, reference=None if self.shuffled else stack.reference, **lens)
        return replace(sample, stack=stack, unrounded=None if unrounded is None else unrounded[order])
