"""What depth from defocus can be expected of a lens: blur, depth of field, resolution, working range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import Elementwise
from fossa_ros.sweep.plan import SweepPlan

BLUR_ERROR_PX = 0.25
"""Standard error of an estimated blur diameter (docs/optics.md describes the measurement)."""
IN_FOCUS_PX = 1.0
"""Blur diameter up to which things count as in focus."""


@dataclass(frozen=True)
class WorkingRange:
    """A lens, a camera and a sweep. All methods work element-wise on numbers and arrays.

    Attributes:
        focal_length: metres.
        f_number: focal length over aperture diameter.
        pixel_size: metres, of the image that depth is estimated from.
        plan: planes of a sweep.
        blur_error: px, standard error of an estimated blur diameter.

    Raises:
        InputError: a value that no lens has, or a nearest plane too close for it.
    """

    focal_length: float
    f_number: float
    pixel_size: float
    plan: SweepPlan
    blur_error: float = BLUR_ERROR_PX

    def __post_init__(self) -> None:
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

    def blur(self, depth: ArrayLike, focus_distance: ArrayLike) -> Elementwise:
        """Return the blur diameter (px) of what is at ``depth`` (m) with the lens focused at ``focus_distance`` (m)."""
        return 2 * optics.blur_radius(depth, focus_distance, self.focal_length, self.f_number, self.pixel_size)

    def blur_per_dioptre(self, focus_distance: ArrayLike) -> Elementwise:
        """Return by how many pixels the blur diameter grows with each dioptre of defocus."""
        return optics.blur_per_dioptre(focus_distance, self.focal_length, self.f_number, self.pixel_size)

    def in_focus(self, focus_distance: ArrayLike, limit: float = IN_FOCUS_PX) -> tuple[Elementwise, Elementwise]:
        """Return the nearest and the farthest distance (m) at which the blur diameter is at most ``limit`` (px)."""
        return optics.depth_of_field(focus_distance, limit / self.blur_per_dioptre(focus_distance))

    def dioptre_error(self, depth: ArrayLike) -> Elementwise:
        """Return the standard error, in dioptres, of the depth of what is at ``depth`` (m).

        Beyond the outermost planes it is that of the nearest plane. Blur is seen there as well, but on one side of the
        focus only, so that an error of the stated aperture counts in full.
        """
        beside = np.clip(depth, self.nearest, self.farthest)
        return self.blur_error / self.blur_per_dioptre(beside)

    def depth_error(self, depth: ArrayLike) -> Elementwise:
        """Return the standard error of depth, metres; infinite where one error reaches beyond infinity."""
        return optics.depth_error(depth, self.dioptre_error(depth))

    def reach(self, relative_error: float) -> float:
        """Return up to which distance (m) depth is known within ``relative_error`` (0.05 for 5 %); 0 for nowhere."""
        distances = np.geomspace(self.nearest, 1e4, 20_000)
        within = self.depth_error(distances) <= relative_error * distances
        return float(distances[within].max()) if within.any() else 0.0
