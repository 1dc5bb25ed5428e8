"""Focus over command from a board: every corner knows its distance, and in which frame it is sharpest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fossa_ros.calibration.board.observation import SweepObservation
from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.lens_calibration import TemperatureModel
from fossa_ros.calibration.series import Direction
from fossa_ros.calibration.sharpness import find_centre, find_peak
from fossa_ros.core.errors import InputError

_KNOTS = 7  # of a curve, evenly spaced over the commands that focus on the board
_FEWEST = 12  # peaks of a direction
_SUPPORT = 3  # peaks at or beyond either end of a curve
_LEAST_SPAN = 0.5  # D between the nearest and the farthest of them
_STIFF = 0.2, 0.01  # D of second and of third differences between knots that no peak determines
_SMALLEST_WARMING, _CERTAIN = 1.0, 3.0  # degC, deviations: as for targets without a board
_LEAST_DEVIATION = 0.01  # D of one peak
_SHARED = 0.005  # D that all peaks of a sweep are off together, however many there are: of the place of the board


@dataclass(frozen=True, eq=False)
class FocusPeaks:
    """Where corners are sharpest, N of them, in one direction.

    Attributes:
        sweep, corner: (N,) number of the sweep, and index among its corners.
        commands, uncertainties: (N,) of the peaks.
        temperatures: (N,) degC, NaN where unknown.
        refused: sentences about curves without a peak.
    """

    sweep: npt.NDArray[np.int_]
    corner: npt.NDArray[np.int_]
    commands: npt.NDArray[np.float64]
    uncertainties: npt.NDArray[np.float64]
    temperatures: npt.NDArray[np.float64]
    refused: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FocusFit:
    """Curves of both directions.

    Attributes:
        curves: by direction; those that were recorded.
        temperature: drift; None without a thermometer.
        residuals: (N,) dioptres of each peak by direction: curve less board.
        uncertainty: standard deviation of a curve between its ends, dioptres.
    """

    curves: dict[Direction, FocusCurve]
    temperature: TemperatureModel | None
    residuals: dict[Direction, npt.NDArray[np.float64]]
    uncertainty: float

    def focus(self, sweep: SweepObservation) -> npt.NDArray[np.float64]:
        """Return the dioptres of each frame of a sweep; a frame of unknown direction gets the mean of both."""
        focus = np.zeros(len(sweep.commands))
        for number, (command, way) in enumerate(zip(sweep.commands, sweep.directions, strict=True)):
            curves = list(self.curves.values()) if way is None or way not in self.curves else [self.curves[way]]
            focus[number] = np.mean([curve.focus(command) for curve in curves])
        if self.temperature is not None:
            focus += [self.temperature.drift(each) if math.isfinite(each) else 0.0 for each in sweep.temperatures]
        return focus


def find_peaks(sweeps: Sequence[SweepObservation], direction: Direction) -> FocusPeaks:
    """Find the command at which each corner of each sweep is sharpest, where there is one."""
    found: list[tuple[int, int, float, float, float]] = []
    refused: list[str] = []
    for number, sweep in enumerate(sweeps):
        frames = sweep.of(direction)
        if len(frames) < 5:
            continue
        commands = sweep.commands[frames]
        order = np.argsort(commands)
        for index, corner in enumerate(sweep.corners):
            if not np.isfinite(sweep.sharpness[frames, index]).all():
                continue
            try:
                peak = find_peak(commands, sweep.sharpness[frames, index], f"{sweep.name}, corner {corner}")
            except InputError as error:
                refused.append(str(error))
                continue
            degrees = float(np.interp(peak.command, commands[order], sweep.temperatures[frames][order]))
            found.append((number, index, peak.command, max(peak.uncertainty, 1e-9), degrees))
    table = np.array(found, dtype=np.float64).reshape(-1, 5)
    return FocusPeaks(
        table[:, 0].astype(np.int_), table[:, 1].astype(np.int_), table[:, 2], table[:, 3], table[:, 4], tuple(refused)
    )


def fit_focus(peaks: Mapping[Direction, FocusPeaks], dioptres: Mapping[Direction, np.ndarray]) -> FocusFit:
    """Fit a monotone curve for each direction, and one drift, to the peaks of all corners.

    Args:
        peaks: by direction.
        dioptres: (N,) of each peak's corner.

    Raises:
        InputError: there are too few peaks, or they do not rise or fall over the commands.
    """
    from scipy.optimize import least_squares

    ways = [way for way in Direction if way in peaks and len(peaks[way].commands) >= _FEWEST]
    if not ways:
        count = max((len(each.commands) for each in peaks.values()), default=0)
        raise InputError(
            f"Only {count} corners of the board become sharpest within the range of commands, where {_FEWEST} are "
            "needed; put the board where the lens can focus on it, and step over its whole range."
        )
    spans = [float(np.ptp(dioptres[way])) for way in ways]
    if max(spans) < _LEAST_SPAN:
        raise InputError(
            f"The board was sharp between {dioptres[ways[0]].min():.2f} and {dioptres[ways[0]].max():.2f} D only; "
            f"put it at places that are farther apart: near, in the middle, and far, {_LEAST_SPAN} D or more in all."
        )
    degrees = np.concatenate([peaks[way].temperatures for way in ways])
    thermometer = bool(np.isfinite(degrees).all())
    reference = float(np.median(degrees)) if thermometer else 0.0
    drifts = thermometer and float(np.ptp(degrees)) >= _SMALLEST_WARMING
    ends = {way: np.sort(peaks[way].commands)[[_SUPPORT - 1, -_SUPPORT]] for way in ways}
    knots = {way: np.linspace(float(low), float(high), _KNOTS) for way, (low, high) in ends.items()}
    lines = {way: np.polyfit(peaks[way].commands, dioptres[way], 1) for way in ways}
    sign = float(np.sign(sum(line[0] for line in lines.values())))
    sigmas = {way: _deviations(peaks[way], abs(float(lines[way][0]))) for way in ways}

    def values(x: np.ndarray, index: int) -> np.ndarray:
        part = x[index * _KNOTS : (index + 1) * _KNOTS]
        heights: np.ndarray = part[0] + sign * np.concatenate([[0.0], np.cumsum(np.exp(part[1:]))])
        return heights

    def left(x: np.ndarray) -> list[np.ndarray]:
        drift = x[-1] if drifts else 0.0
        parts = []
        for index, way in enumerate(ways):
            curve = FocusCurve(knots[way], values(x, index))
            warmth = np.nan_to_num(peaks[way].temperatures - reference) * drift
            parts.append(curve.focus(peaks[way].commands) + warmth - dioptres[way])
        return parts

    def residuals(x: np.ndarray) -> np.ndarray:
        bends = [
            np.diff(values(x, index), order) / stiff
            for index in range(len(ways))
            for order, stiff in enumerate(_STIFF, 2)
        ]
        return np.concatenate([*(part / sigmas[way] for way, part in zip(ways, left(x), strict=True)), *bends])

    start = []
    for way in ways:
        heights = np.polyval(lines[way], knots[way])
        step = max(abs(float(heights[-1] - heights[0])) / (_KNOTS - 1), 1e-3)
        start += [heights[0], *np.full(_KNOTS - 1, np.log(step))]
    start += [0.0] * drifts
    fit = least_squares(residuals, np.array(start), loss="soft_l1", f_scale=2.0, max_nfev=200)
    parts = left(fit.x)
    curves = {way: FocusCurve(knots[way], values(fit.x, index)) for index, way in enumerate(ways)}
    left_over = dict(zip(ways, parts, strict=True))
    jacobian = np.asarray(fit.jac)
    covariance = np.linalg.pinv(jacobian.T @ jacobian)
    inflated = max(float(np.median(np.abs(np.concatenate([left_over[w] / sigmas[w] for w in ways])))) * 1.4826, 1.0)
    temperature = None
    if thermometer:
        spread = float(np.sqrt(covariance[-1, -1])) * inflated if drifts else None
        known = fit.x[-1] if drifts and spread is not None and abs(fit.x[-1]) > _CERTAIN * spread else 0.0
        low, high = float(degrees.min()), float(degrees.max())
        temperature = TemperatureModel(reference, float(known) if drifts else None, spread, low, high)
    return FocusFit(curves, temperature, left_over, _uncertainty(left_over, peaks))


def _deviations(peaks: FocusPeaks, slope: float) -> npt.NDArray[np.float64]:
    """Return the standard deviation of each peak, dioptres, so that no sweep weighs more than what its peaks share."""
    count = np.bincount(peaks.sweep)[peaks.sweep]
    squares = np.square(peaks.uncertainties * slope) + _LEAST_DEVIATION**2 + count * _SHARED**2
    return np.sqrt(squares)


def _uncertainty(residuals: Mapping[Direction, np.ndarray], peaks: Mapping[Direction, FocusPeaks]) -> float:
    """Return the deviation of the sweeps' means: corners of one sweep share the error of its place and of its steps."""
    means, within = [], []
    for way, left in residuals.items():
        for sweep in np.unique(peaks[way].sweep):
            mine = left[peaks[way].sweep == sweep]
            means.append(float(np.median(mine)))
            within.append(float(np.var(mine)) / len(mine))
    return math.sqrt(float(np.mean(np.square(means))) + float(np.mean(within)))


def centre_peaks(
    sweeps: Sequence[SweepObservation], direction: Direction, peaks: FocusPeaks, fit: FocusFit
) -> FocusPeaks:
    """Find the peaks anew where the lens is known roughly: as the centres of curves that are even in dioptres.

    A parabola through the curve is the axis: whatever the peaks of one sweep bend the curve by would bend the axis too,
    and come back as an asymmetry that moves them further.
    """
    curve = fit.curves[direction]
    parabola = np.polynomial.Polynomial.fit(curve.commands, curve.dioptres, 2)
    commands, spreads = [], []
    for sweep, corner, command, spread, degrees in zip(
        peaks.sweep, peaks.corner, peaks.commands, peaks.uncertainties, peaks.temperatures, strict=True
    ):
        frames = sweeps[sweep].of(direction)
        slope = float(parabola.deriv()(command))
        axis = parabola(sweeps[sweep].commands[frames])
        if fit.temperature is not None:
            warmth = sweeps[sweep].temperatures[frames] - degrees
            axis = axis + np.nan_to_num(warmth) * (fit.temperature.coefficient or 0.0)
        found = find_centre(axis, sweeps[sweep].sharpness[frames, corner], float(parabola(command)))
        if found is not None and slope:
            command = command + (found[0] - float(parabola(command))) / slope
            spread = found[1] / abs(slope)
        commands.append(command)
        spreads.append(spread)
    return replace(peaks, commands=np.array(commands), uncertainties=np.array(spreads))
