"""Disturbances of a focus stack: shuffled or soft planes, noise, wrong focus distances or F-number, no lens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
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
        seed: seed of order, errors and noise, which differ from image to image.
        aperture: relative error of the f-number, the same for every image.
        noise: standard deviation of white noise that is added to the planes, grey levels.
        softness: standard deviation (px) of the Gaussian by which all planes are blurred, before noise is added.

    Raises:
        InputError: ``misstated`` is not in 0..1, ``aperture`` is not above -1, or ``noise`` or ``softness`` is below 0.
    """

    shuffled: bool = False
    misstated: float = 0.0
    blind: bool = False
    seed: int = 0
    aperture: float = 0.0
    noise: float = 0.0
    softness: float = 0.0

    def __post_init__(self):
        if not 0 <= self.misstated < 1:
            raise InputError(
                f"misstated, a relative error, must be from 0 to below 1, not {self.misstated}; correct it."
            )
        if self.aperture <= -1 or self.noise < 0 or self.softness < 0:
            raise InputError(
                f"aperture, a relative error, must be above -1, and noise and softness at least 0, not "
                f"{self.aperture}, {self.noise} and {self.softness}; correct them."
            )

    def as_dict(self) -> dict[str, float | bool]:
        """Return the active disturbances by name."""
        return {name: value for name, value in vars(self).items() if value and name != "seed"}

    def apply(self, sample: Sample, index: int) -> Sample:
        """Return image ``index`` of a set, disturbed."""
        rng = np.random.default_rng([self.seed, index])
        stack = sample.stack
        order = rng.permutation(len(stack)) if self.shuffled else np.arange(len(stack))
        focus = stack.focus_distances[order] * (1 + self.misstated * rng.uniform(-1, 1, len(stack)))
        images = [stack.planes[i].image for i in order]
        unrounded = None if sample.unrounded is None else sample.unrounded[order]
        if self.noise or self.softness:
            exact = np.float32(images) if unrounded is None else unrounded
            if self.softness:
                exact = np.stack([cv2.GaussianBlur(image, (0, 0), self.softness) for image in exact])
            exact = exact + rng.normal(0, self.noise, exact.shape).astype(np.float32)
            images = list(np.rint(exact).clip(0, 255).astype(np.uint8))
            unrounded = None if unrounded is None else exact
        f_number, focal_length = (None, None) if self.blind else (stack.f_number, stack.focal_length)
        if f_number is not None:
            f_number *= 1 + self.aperture
        stack = replace(
            stack,
            planes=tuple(FocusPlane(image, float(distance)) for image, distance in zip(images, focus, strict=True)),
            reference=None if self.shuffled else stack.reference,
            f_number=f_number,
            focal_length=focal_length,
        )
        return replace(sample, stack=stack, unrounded=unrounded)
