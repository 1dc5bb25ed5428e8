"""What disturbs a focus stack: planes in another order, misstated focus distances, an unknown lens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane
from fossa_ros.evaluation.protocol import Sample


@dataclass(frozen=True)
class Disturbance:
    """What is done to every stack before it is estimated.

    Attributes:
        shuffled: mix the order of the planes.
        misstated: multiply every focus distance by its own factor, off by up to this share.
        blind: forget f-number and focal length.
        seed: of the order and the factors; they differ from image to image.

    Raises:
        InputError: a share that is not in 0..1.
    """

    shuffled: bool = False
    misstated: float = 0.0
    blind: bool = False
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.misstated < 1:
            raise InputError(f"Focus distances can be misstated by 0 to 1 of them, not {self.misstated}; correct it.")

    def as_dict(self) -> dict[str, float | bool]:
        """Return what is done, by name; nothing where nothing is."""
        return {name: value for name, value in vars(self).items() if value and name != "seed"}

    def apply(self, sample: Sample, index: int) -> Sample:
        """Disturb image ``index`` of a set."""
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
