"""The calibration of a lens: focus over command, drift with temperature, and breathing of the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.series import Direction
from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import scaled_intrinsics
from fossa_ros.core.optics import metres

if TYPE_CHECKING:  # half a second to import, which a node without a calibration need not spend
    from scipy.interpolate import CubicSpline


@dataclass(frozen=True)
class CalibratedDevice:
    """The lens that was calibrated.

    Attributes:
        backend: lens driver, empty if unknown.
        identity: make and serial number, for display.
        quantity, unit: of the command.
        least, greatest: range of the command.
    """

    backend: str
    identity: str
    quantity: str
    unit: str
    least: float
    greatest: float


@dataclass(frozen=True)
class TemperatureModel:
    """Drift of the focus with the temperature of the lens.

    Attributes:
        reference: degC at which the curves hold.
        coefficient: dioptres per degC; None if it could not be measured.
        uncertainty: standard deviation of the coefficient; None if there is no coefficient.
        low, high: range of temperatures during calibration, degC.
    """

    reference: float
    coefficient: float | None = None
    uncertainty: float | None = None
    low: float | None = None
    high: float | None = None

    def drift(self, temperature: float | None) -> float:
        """Return the difference of the focus from the curves, dioptres; 0 if temperature or coefficient is unknown."""
        if temperature is None or self.coefficient is None:
            return 0.0
        return self.coefficient * (temperature - self.reference)


@dataclass(frozen=True, eq=False)
class Breathing:
    """Scale and shift of the image over focus, relative to the image at a reference focus.

    A point at (x, y) from the image centre at the reference focus is at scale * (x, y) + shift.

    Attributes:
        width, height: size of the calibrated images, px.
        reference: dioptres at which scale is 1 and shift 0.
        dioptres: (N,) rising, N >= 2.
        scale: (N,) at these dioptres.
        shift: (N, 2) right and down, px.
        uncertainty: standard deviation of the scale between either end and the reference.
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

    def at(self, dioptres: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return (..., 3) scale, shift right and shift down (px): a natural cubic spline, linear beyond its ends."""
        dioptres = np.asarray(dioptres, dtype=np.float64)
        inside = np.clip(dioptres, self.dioptres[0], self.dioptres[-1])
        values: npt.NDArray[np.float64] = self._spline(inside) + (dioptres - inside)[..., None] * self._spline(
            inside, 1
        )
        values[..., 0] = np.exp(values[..., 0])
        return values

    def matrix(self, dioptres: float, size: tuple[int, int]) -> npt.NDArray[np.float64]:
        """Return the (3, 3) homography from pixels at the reference focus to pixels at ``dioptres``.

        ``size`` is (height, width) of the images, which may be resized but not cropped.

        Raises:
            InputError: the aspect ratio differs from that of the calibrated images.
        """
        height, width = size
        if abs(width * self.height - height * self.width) > 0.01 * width * self.height:
            raise InputError(
                f"The breathing of the lens was calibrated on {self.width}x{self.height} images, which do not scale to "
                f"{width}x{height}; calibrate again at this resolution."
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


@dataclass(frozen=True)
class Optics:
    """What a printed board tells of camera and lens beside focus and breathing.

    Attributes:
        distortion_model, distortion: as in camera_info, at the reference focus of the breathing.
        fx_uncertainty: standard deviation of fx, of fx.
        pupil: diameter of the entrance pupil, metres: a blur disc grows by fx times this a dioptre; None if unknown.
        pupil_uncertainty: standard deviation, metres.
    """

    distortion_model: str
    distortion: tuple[float, ...]
    fx_uncertainty: float
    pupil: float | None = None
    pupil_uncertainty: float | None = None


@dataclass(frozen=True, eq=False)
class LensCalibration:
    """The calibration of one lens with one camera.

    Attributes:
        device: the lens.
        rising, falling: focus over command, after moves to a higher and to a lower command.
        uncertainty: standard deviation of the focus, dioptres, from leave-one-out residuals and peak positions.
        temperature: None if the lens has no thermometer.
        breathing: None if it was not measured.
        K: (3, 3) intrinsic matrix at the reference focus and size of the breathing, None if not given.
        optics: distortion and entrance pupil; None if no board told.
        created: date and time, for display.
    """

    device: CalibratedDevice
    rising: FocusCurve
    falling: FocusCurve
    uncertainty: float
    temperature: TemperatureModel | None = None
    breathing: Breathing | None = None
    K: np.ndarray | None = None
    optics: Optics | None = None
    created: str = ""

    def curve(self, direction: Direction) -> FocusCurve:
        """Return the curve of one direction."""
        return self.rising if direction is Direction.RISING else self.falling

    def dioptres(
        self, command: npt.ArrayLike, direction: Direction, temperature: float | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the focus (dioptres) at a command reached in ``direction``, at ``temperature`` (degC)."""
        return self.curve(direction).focus(command) + self._drift(temperature)

    def command(self, dioptres: float, direction: Direction, temperature: float | None = None) -> float:
        """Return the command that, reached in ``direction``, focuses at ``dioptres``."""
        return self.curve(direction).command(dioptres - self._drift(temperature))

    @property
    def rises(self) -> bool:
        """Whether higher commands focus nearer."""
        return bool(self.rising.dioptres[-1] > self.rising.dioptres[0])

    @property
    def hysteresis(self) -> float:
        """Largest difference of the two curves in dioptres, over the commands that both cover."""
        low = max(self.rising.commands[0], self.falling.commands[0])
        high = min(self.rising.commands[-1], self.falling.commands[-1])
        at = np.linspace(low, high, 33) if low < high else np.array([low])
        return float(np.abs(self.rising.focus(at) - self.falling.focus(at)).max())

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest dioptres that can be reached in both directions, at the reference temperature."""
        ends = []
        for curve in (self.rising, self.falling):
            low, high = curve.range
            reach = sorted(float(curve.focus(command)) for command in (self.device.least, self.device.greatest))
            ends.append((max(low, reach[0]), min(high, reach[1])))
        return max(low for low, _ in ends), min(high for _, high in ends)

    @property
    def nearest(self) -> float:
        """Nearest focus distance, metres."""
        return float(metres(self.range[1]))

    @property
    def farthest(self) -> float:
        """Farthest focus distance, metres; may be infinite."""
        return float(metres(max(self.range[0], 0.0)))

    def scale(self, dioptres: float) -> float:
        """Return the image scale relative to the reference focus; 1 if breathing is unknown."""
        return 1.0 if self.breathing is None else float(self.breathing.at(dioptres)[0])

    def intrinsics(
        self, dioptres: float, size: tuple[int, int], K: np.ndarray | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the (3, 3) intrinsic matrix at a focus, for images of ``size`` (height, width).

        ``K`` is the matrix at the reference focus and this size, by default that of the calibration.

        Raises:
            InputError: no matrix is known, or the aspect ratio differs from that of the calibrated images.
        """
        if K is None:
            if self.K is None or self.breathing is None:
                raise InputError("The calibration has no intrinsics; give the matrix at its reference focus.")
            K = scaled_intrinsics(self.K, (self.breathing.height, self.breathing.width), size)
        return np.asarray(K, dtype=np.float64) if self.breathing is None else self.breathing.matrix(dioptres, size) @ K

    def _drift(self, temperature: float | None) -> float:
        return 0.0 if self.temperature is None else self.temperature.drift(temperature)
