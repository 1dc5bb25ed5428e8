"""What depth from defocus can be expected to tell with a lens: blur, depth of field, resolution, working range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.sweep.plan import SweepPlan

BLUR_ERROR_PX = 0.25
"""Deviation with which the diameter of blur is told (docs/optics.md says how that was found)."""
IN_FOCUS_PX = 1.0
"""Diameter of blur up to which things count as in focus."""


@dataclass(frozen=True)
class WorkingRange:
    """A lens, a camera and a sweep.

    Attributes:
        focal_length: metres.
        f_number: focal length over aperture diameter.
        pixel_size: metres, of the image that depth is estimated from.
        plan: planes of a sweep.
        blur_error: px, deviation with which the diameter of blur is told.

    Raises:
        InputError: no such lens.
    """

    focal_length: float
    f_number: float
    pixel_size: float
    plan: SweepPlan
    blur_error: float = BLUR_ERROR_PX

    def __post_init__(self):
        for name in ("focal_length", "f_number", "pixel_size", "blur_error"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"{name} must be a positive number, not {getattr(self, name):g}.")
        if not self.nearest > 2 * self.focal_length:
            raise InputError(
                f"The nearest plane ({self.nearest:g} m) is within twice the focal length of {self.focal_length:g} m, "
                "where images are larger than things; give a longer --near."
            )

    @property
    def nearest(self) -> float:
        """Nearest plane, metres."""
        return min(self.plan.focus_distances)

    @property
    def farthest(self) -> float:
        """Farthest plane, metres; infinity is possible."""
        return max(self.plan.focus_distances)

    def blur(self, depth, focus_distance):
        """Return the diameter (px) of the blur of what is at ``depth`` while the lens focuses at ``focus_distance``."""
        across = optics.blur_radius(depth, focus_distance, self.focal_length, self.f_number, self.pixel_size)
        return 2 * across

    def blur_per_dioptre(self, focus_distance):
        """Return by how many pixels the diameter of blur grows with each dioptre off the focus."""
        return optics.blur_per_dioptre(focus_distance, self.focal_length, self.f_number, self.pixel_size)

    def in_focus(self, focus_distance, limit: float = IN_FOCUS_PX):
        """Return from where to where blur stays within ``limit`` (px), metres."""
        return optics.depth_of_field(focus_distance, limit / self.blur_per_dioptre(focus_distance))

    def dioptre_error(self, depth):
        """Return the deviation of depth in dioptres of what lies at ``depth``.

        Beyond the outermost planes that is what the nearest of them tells: the blur is seen there as well, but all of
        it on one side of the focus, so that an aperture that is not what was said counts in full.
        """
        beside = np.clip(depth, self.nearest, self.farthest)
        return self.blur_error / self.blur_per_dioptre(beside)

    def depth_error(self, depth):
        """Return the deviation of depth, metres; infinite where one deviation reaches beyond infinity."""
        return optics.depth_error(depth, self.dioptre_error(depth))

    def reach(self, relative_error: float) -> float:
        """Return how far depth is told within ``relative_error`` (0.05 for 5 %), metres; 0 where nowhere."""
        distances = np.geomspace(self.nearest, 1e4, 20_000)
        within = self.depth_error(distances) <= relative_error * distances
        return float(distances[within].max()) if within.any() else 0.0
