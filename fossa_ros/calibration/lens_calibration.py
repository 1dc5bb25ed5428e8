"""What a calibration knows of a lens: its focus, its temperature, and how its image breathes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.series import Direction
from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import scaled_intrinsics
from fossa_ros.core.optics import metres

if TYPE_CHECKING:  # half a second to import, which a node without a calibration need not spend
    from scipy.interpolate import CubicSpline


@dataclass(frozen=True)
class CalibratedDevice:
    """Which lens was calibrated.

    Attributes:
        backend: of the lens, empty where unknown.
        identity: make and serial number, for people.
        quantity, unit: of its command.
        least, greatest: range of its command.
    """

    backend: str
    identity: str
    quantity: str
    unit: str
    least: float
    greatest: float


@dataclass(frozen=True)
class TemperatureModel:
    """How the focus drifts with the temperature of the lens.

    Attributes:
        reference: degC at which the curves hold.
        coefficient: dioptres a degC; None where it could not be measured.
        uncertainty: standard deviation of the coefficient; None together with it.
        low, high: degC between which the calibration was made.
    """

    reference: float
    coefficient: float | None = None
    uncertainty: float | None = None
    low: float | None = None
    high: float | None = None

    def drift(self, temperature: float | None) -> float:
        """Return the dioptres by which the focus lies beyond the curves; 0 where that is not known."""
        if temperature is None or self.coefficient is None:
            return 0.0
        return self.coefficient * (temperature - self.reference)


@dataclass(frozen=True, eq=False)
class Breathing:
    """Scale and shift of the image over focus, against the image at a reference focus.

    What is at (x, y) at the reference focus, from the centre of the image, is at scale * (x, y) + shift.

    Attributes:
        width, height: px of the images that were measured.
        reference: dioptres where scale is 1 and shift 0.
        dioptres: (N,) rising, N >= 2.
        scale: (N,) at them.
        shift: (N, 2) px right and down.
        uncertainty: standard deviation of the scale between the ends and the reference.
    """

    width: int
    height: int
    reference: float
    dioptres: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    uncertainty: float = np.nan

    @cached_property
    def _spline(self) -> CubicSpline:
        from scipy.interpolate import CubicSpline

        values = np.column_stack([np.log(self.scale), self.shift])
        return CubicSpline(self.dioptres, values, bc_type="natural")

    def at(self, dioptres) -> np.ndarray:
        """Return scale and shift (px right and down), (..., 3), at a focus: splined, straight beyond the ends."""
        dioptres = np.asarray(dioptres, dtype=np.float64)
        inside = np.clip(dioptres, self.dioptres[0], self.dioptres[-1])
        values = self._spline(inside) + (dioptres - inside)[..., None] * self._spline(inside, 1)
        values[..., 0] = np.exp(values[..., 0])
        return values

    def matrix(self, dioptres: float, size: tuple[int, int]) -> np.ndarray:
        """Return what takes a pixel of the reference image to the pixel at ``dioptres``, (3, 3).

        ``size`` is (height, width) of the images, which may be resized but not cropped.

        Raises:
            InputError: a size of another shape than that of the images that were measured.
        """
        height, width = size
        if abs(width * self.height - height * self.width) > 0.01 * width * self.height:
            raise InputError(
                f"The breathing of the lens was calibrated on {self.width}x{self.height} images, which "
                f"{width}x{height} ones are no resized copy of; calibrate again at this resolution."
            )
        scale, right, down = self.at(dioptres)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        shift = np.array([right, down]) * width / self.width
        return np.array(
            [
                [scale, 0, centre[0] * (1 - scale) + shift[0]],
                [0, scale, centre[1] * (1 - scale) + shift[1]],
                [0, 0, 1.0],
            ]
        )


@dataclass(frozen=True, eq=False)
class LensCalibration:
    """The calibration of one lens before one camera.

    Attributes:
        device: which lens.
        rising, falling: focus over command, when the lens came from smaller commands and from greater ones.
        uncertainty: standard deviation of the focus, dioptres, from what the curves say of distances left out.
        temperature: None where the lens had no thermometer.
        breathing: None where it was not measured.
        K: (3, 3) intrinsic matrix at the breathing's reference focus and size, None where not given.
        created: when, for people.
    """

    device: CalibratedDevice
    rising: FocusCurve
    falling: FocusCurve
    uncertainty: float
    temperature: TemperatureModel | None = None
    breathing: Breathing | None = None
    K: np.ndarray | None = None
    created: str = ""

    def curve(self, direction: Direction) -> FocusCurve:
        """Return the curve of one direction."""
        return self.rising if direction is Direction.RISING else self.falling

    def dioptres(self, command, direction: Direction, temperature: float | None = None):
        """Return the focus (dioptres) at a command reached in ``direction``, at ``temperature`` (degC)."""
        return self.curve(direction).focus(command) + self._drift(temperature)

    def command(self, dioptres: float, direction: Direction, temperature: float | None = None) -> float:
        """Return the command that, reached in ``direction``, focuses at ``dioptres``."""
        return self.curve(direction).command(dioptres - self._drift(temperature))

    @property
    def rises(self) -> bool:
        """Whether greater commands focus nearer."""
        return bool(self.rising.dioptres[-1] > self.rising.dioptres[0])

    @property
    def hysteresis(self) -> float:
        """Greatest difference between the two curves in dioptres, where both were measured."""
        low = max(self.rising.commands[0], self.falling.commands[0])
        high = min(self.rising.commands[-1], self.falling.commands[-1])
        at = np.linspace(low, high, 33) if low < high else np.array([low])
        return float(np.abs(self.rising.focus(at) - self.falling.focus(at)).max())

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest dioptres that can be commanded from either side, at the reference temperature."""
        ends = []
        for curve in (self.rising, self.falling):
            low, high = curve.range
            told = sorted(float(curve.focus(command)) for command in (self.device.least, self.device.greatest))
            ends.append((max(low, told[0]), min(high, told[1])))
        return max(low for low, _ in ends), min(high for _, high in ends)

    @property
    def nearest(self) -> float:
        """Nearest focus distance, metres."""
        return float(metres(self.range[1]))

    @property
    def farthest(self) -> float:
        """Farthest focus distance, metres; infinity is possible."""
        return float(metres(max(self.range[0], 0.0)))

    def scale(self, dioptres: float) -> float:
        """Return the size of the image at a focus over that at the reference focus; 1 where breathing is unknown."""
        return 1.0 if self.breathing is None else float(self.breathing.at(dioptres)[0])

    def intrinsics(self, dioptres: float, size: tuple[int, int], K: np.ndarray | None = None) -> np.ndarray:
        """Return the (3, 3) intrinsic matrix at a focus, for images of ``size`` (height, width).

        ``K`` is that at the reference focus and this size; without one the calibration's own serves.

        Raises:
            InputError: no matrix is known, or images of another shape.
        """
        if K is None:
            if self.K is None or self.breathing is None:
                raise InputError("The calibration has no intrinsics; give those at its reference focus.")
            K = scaled_intrinsics(self.K, (self.breathing.height, self.breathing.width), size)
        return np.asarray(K) if self.breathing is None else self.breathing.matrix(dioptres, size) @ K

    def _drift(self, temperature: float | None) -> float:
        return 0.0 if self.temperature is None else self.temperature.drift(temperature)
