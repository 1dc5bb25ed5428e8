"""Lenses and focus distances of training stacks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fossa_ros.core import optics
from fossa_ros.training.random_source import RandomSource

IMAGE_WIDTH = 640  # px of the image of which a training scene is a crop
IMAGE_HEIGHT = 480
SENSOR_WIDTH = 0.036  # m, of the paper's training lens
F_NUMBERS = (1.0, 1.4, 2.0, 2.8, 4.0)  # of the paper
MIN_BLUR, MAX_BLUR = 1.2, 15.0  # px radius of the most blurred point of a stack
APERTURE_BY_BLUR = 0.6  # share of the lenses whose aperture is chosen for a log-uniform blur
MIN_SEPARATION = 1e-6  # dioptres between two planes


@dataclass(frozen=True)
class TrainingLens:
    """A thin lens in front of an image.

    Attributes:
        image_width: px.
        focal_length_px: the same in x and y.
        focal_length: metres.
        f_number: focal length over aperture.
    """

    image_width: float
    focal_length_px: float
    focal_length: float
    f_number: float

    @property
    def canonical_scale(self) -> float:
        """Canonical metres per metre."""
        K = np.diag([self.focal_length_px, self.focal_length_px, 1.0])
        return optics.canonical_scale(K, self.image_width)

    def blur_per_dioptre(self, focus_distance):
        """Return the blur radius (px) one dioptre away from a focus distance (m)."""
        beside = optics.metres(optics.dioptres(focus_distance) + 1.0)
        pitch = optics.pixel_size(self.focal_length, self.focal_length_px)
        return optics.blur_radius(beside, focus_distance, self.focal_length, self.f_number, pitch)


def draw_lens(
    rng: RandomSource, max_defocus: float, *, view: float | None = None, image_width: float = IMAGE_WIDTH
) -> TrainingLens:
    """Draw one of the paper's camera lenses or a robot's lens, with an aperture that gives useful blur.

    Args:
        rng: random numbers.
        max_defocus: largest defocus (D) of any point of the scene in any plane.
        view: focal length in image widths; None draws a field of view of 34 to 90 degrees.
        image_width: width of the whole image (px).
    """
    drawn = 0.5 / math.tan(math.radians(rng.uniform(17, 45)))
    view = view or drawn
    if rng.chance(0.4):
        focal_length, f_number = view * SENSOR_WIDTH, rng.choice(F_NUMBERS)
    else:
        focal_length, f_number = rng.log_uniform(0.003, 0.035), rng.uniform(1.2, 5.6)
    lens = TrainingLens(image_width, view * image_width, focal_length, f_number)
    blur = float(lens.blur_per_dioptre(math.inf)) * max_defocus
    if rng.chance(APERTURE_BY_BLUR) or not MIN_BLUR < blur < MAX_BLUR:
        f_number *= blur / rng.log_uniform(MIN_BLUR, MAX_BLUR)
    return dataclasses.replace(lens, f_number=f_number)


def draw_focus(
    rng: RandomSource, power: Tensor, count: int, quantiles: tuple[float, float] = (0.05, 0.95)
) -> np.ndarray:
    """Return ``count`` focus distances (m) for a scene of ``power`` (H, W) dioptres, nearest first.

    One of three rules: evenly spaced in disparity between roughly two quantiles of the scene (5 and 95 % are the
    paper's depth-dependent rule), the paper's power-inverse rule scaled to the distance of the scene, or uneven steps.
    """
    low, high = np.quantile(power.flatten()[::7].cpu().numpy(), quantiles).tolist()
    span = max(high - low, 0.05 * high)
    low = min(low, high - span / 2)  # else slack could turn the order of the planes of a flat scene
    rule = rng.uniform()
    if rule < 0.7:
        slack = rng.choice((0.02, 0.15, 0.4)) * span
        ends = high + slack * rng.uniform(-0.5, 1), max(low - slack * rng.uniform(-0.5, 1), 0.02)
        powers = np.linspace(*ends, count)
    elif rule < 0.85:
        z_near = rng.uniform(0.6, 1.0)
        z_far = z_near * rng.uniform(7, 15)
        kappa = max(rng.uniform(), 1e-3)
        t = np.linspace(0, 1, count)
        powers = ((1 / z_far) ** kappa * t + (1 / z_near) ** kappa * (1 - t)) ** (1 / kappa)
        powers = powers * (high * rng.uniform(0.8, 1.3)) / powers[0]
    else:
        powers = np.sort((low + span * (1.5 * rng.rand(count).numpy() - 0.25)).clip(0.02, None))[::-1]
    powers = np.minimum.accumulate(powers - MIN_SEPARATION * np.arange(count))
    return optics.metres(np.maximum(powers, 1e-3))
