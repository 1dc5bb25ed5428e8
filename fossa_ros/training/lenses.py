"""Which lens, at which focus distances, a training stack is taken with."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fossa_ros.core import optics
from fossa_ros.training.textures import Dice

IMAGE_WIDTH = 640  # px of the image that a training scene is a crop of
IMAGE_HEIGHT = 480
SENSOR_WIDTH = 0.036  # m, of the paper's training lens
F_NUMBERS = (1.0, 1.4, 2.0, 2.8, 4.0)  # of the paper
LEAST_BLUR, MOST_BLUR = 1.2, 15.0  # px radius, of the most blurred point of a stack
STOPPED = 0.6  # share of the lenses whose aperture is chosen for the blur, so that little blur is as common as much
SPREAD = 1e-6  # dioptres by which two planes at least differ


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
        """Return the radius (px) of the blur one dioptre away from a focus distance (m)."""
        beside = optics.metres(optics.dioptres(focus_distance) + 1.0)
        pitch = optics.pixel_size(self.focal_length, self.focal_length_px)
        return optics.blur_radius(beside, focus_distance, self.focal_length, self.f_number, pitch)


def draw_lens(
    dice: Dice, widest_gap: float, *, view: float | None = None, image_width: float = IMAGE_WIDTH
) -> TrainingLens:
    """Draw a camera lens of the paper or a robot's, stopped so that there is blur to learn from.

    Args:
        dice: random numbers.
        widest_gap: dioptres between the most blurred point of the scene and the plane it is most blurred in.
        view: focal length in image widths where the picture decides it; else one of 34 to 90 degrees is drawn.
        image_width: px of the whole image.
    """
    drawn = 0.5 / math.tan(math.radians(dice.uniform(17, 45)))
    view = view or drawn
    if dice.chance(0.4):
        focal_length, f_number = view * SENSOR_WIDTH, dice.choice(F_NUMBERS)
    else:
        focal_length, f_number = dice.log_uniform(0.003, 0.035), dice.uniform(1.2, 5.6)
    lens = TrainingLens(image_width, view * image_width, focal_length, f_number)
    blur = float(lens.blur_per_dioptre(math.inf)) * widest_gap
    if dice.chance(STOPPED) or not LEAST_BLUR < blur < MOST_BLUR:
        f_number *= blur / dice.log_uniform(LEAST_BLUR, MOST_BLUR)
    return dataclasses.replace(lens, f_number=f_number)


def draw_focus(dice: Dice, power: Tensor, count: int) -> np.ndarray:
    """Return ``count`` focus distances (m) for a scene of ``power`` (H, W) dioptres, nearest first.

    The paper's two ways, depth-dependent between the 5 and 95 % quantiles of disparity, loosely, and power-inverse,
    the latter brought to the distance of the scene, since a robot's lens is aimed at what is there; and a third,
    uneven steps.
    """
    low, high = np.quantile(power.flatten()[::7].cpu().numpy(), (0.05, 0.95)).tolist()
    span = max(high - low, 0.05 * high)
    way = dice.uniform()
    if way < 0.7:
        slack = dice.choice((0.02, 0.15, 0.4)) * span
        ends = high + slack * dice.uniform(-0.5, 1), max(low - slack * dice.uniform(-0.5, 1), 0.02)
        powers = np.linspace(*ends, count)
    elif way < 0.85:
        z_near = dice.uniform(0.6, 1.0)
        z_far = z_near * dice.uniform(7, 15)
        kappa = max(dice.uniform(), 1e-3)
        t = np.linspace(0, 1, count)
        powers = ((1 / z_far) ** kappa * t + (1 / z_near) ** kappa * (1 - t)) ** (1 / kappa)
        powers = powers * (high * dice.uniform(0.8, 1.3)) / powers[0]
    else:
        powers = np.sort((low + span * (1.5 * dice.rand(count).numpy() - 0.25)).clip(0.02, None))[::-1]
    powers = np.minimum.accumulate(powers - SPREAD * np.arange(count))
    return optics.metres(np.maximum(powers, 1e-3))
