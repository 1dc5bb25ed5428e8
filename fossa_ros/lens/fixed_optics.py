"""Fixed optics behind a tunable lens: the relation of power and focus distance without a calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptres, metres


@dataclass(frozen=True)
class FixedOptics:
    """Optics that are focused at ``offset`` dioptres while the tunable lens has no power: 1/d = power + offset."""

    offset: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.offset):
            raise InputError(f"power_offset must be a finite number of dioptres, not {self.offset}.")

    def distance(self, power: float) -> float:
        """Return the focus distance (m) at a power (D) of the tunable lens."""
        # Rounding may lead half a step beyond infinity, which no image can distinguish from infinity.
        return float(metres(max(power + self.offset, 0.0)))

    def power(self, distance: float) -> float:
        """Return the power (D) of the tunable lens that focuses at a distance (m)."""
        return float(dioptres(distance)) - self.offset

    def check_range(self, least: float, greatest: float) -> None:
        """Raise InputError where no power from ``least`` to ``greatest`` (D) focuses on anything real."""
        if greatest + self.offset <= 0:
            raise InputError(
                f"With power_offset {self.offset:g} D the range of {least + self.offset:.2f} to "
                f"{greatest + self.offset:.2f} D focuses on nothing in front of the camera; raise power_offset."
            )
