"""The command that focuses on each target, by direction, and its drift with temperature."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.lens_calibration import TemperatureModel
from fossa_ros.calibration.series import CalibrationSeries, Direction
from fossa_ros.calibration.sharpness import Peak, find_peak, sharpness
from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptres

FEWEST_DISTANCES = 3
_SMALLEST_WARMING = 1.0  # degC between two series at one distance, needed to measure a coefficient
_CERTAIN = 3.0  # standard deviations by which a coefficient must differ from 0 to be used
Region = tuple[int, int, int, int]  # left, top, width, height in px


@dataclass(frozen=True, eq=False)
class FocusPass:
    """One pass of the lens through its range in front of one target.

    Attributes:
        series: number of the series.
        distance: of the target, metres; None if unknown.
        direction: of the lens.
        commands, values: the sharpness curve.
        peak: its maximum.
        temperature: of the lens at the peak, degC; None if unknown.
    """

    series: int
    distance: float | None
    direction: Direction
    commands: np.ndarray
    values: np.ndarray
    peak: Peak
    temperature: float | None

    @property
    def dioptres(self) -> float:
        """Focus at the peak, dioptres; NaN if the distance is unknown."""
        return math.nan if self.distance is None else float(dioptres(self.distance))


def measure_passes(
    series: Sequence[CalibrationSeries], region: Region | None = None, progress: Callable[[], None] = lambda: None
) -> list[FocusPass]:
    """Find the peak of sharpness of every pass of every series.

    Args:
        series: one or more for each target.
        region: part of the image that shows the target; None for the whole image.
        progress: called after each image.

    Raises:
        InputError: a pass has no single clear peak, or the region lies outside the images.
    """
    found = []
    for number, each in enumerate(series):
        measured = []
        for frame in each.frames:
            measured.append(sharpness(cropped(frame.load(), region)))
            progress()
        values = np.array(measured)
        commands = np.array([frame.command for frame in each.frames])
        passes = each.passes()
        if not passes:
            raise InputError(f"{each}: the lens did not move; step it through its range.")
        for direction, numbers in passes:
            index = np.array(numbers)
            peak = find_peak(commands[index], values[index], f"{each}, {direction} command")
            temperature = _temperature(each, index, peak.command)
            found.append(FocusPass(number, each.distance, direction, commands[index], values[index], peak, temperature))
    return found


def cropped(image: np.ndarray, region: Region | None) -> np.ndarray:
    """Return the region of an (H, W) image, or the whole image for None.

    Raises:
        InputError: the region is smaller than 16 px or not inside the image.
    """
    if region is None:
        return image
    left, top, width, height = region
    part = image[top : top + height, left : left + width] if min(left, top) >= 0 else image[:0]
    if part.shape != (height, width) or min(part.shape) < 16:
        raise InputError(
            f"The region {left},{top},{width},{height} must be 16 px or larger and inside the "
            f"{image.shape[1]}x{image.shape[0]} images; correct --roi."
        )
    return part


def fit_curves(
    passes: Sequence[FocusPass], device_unit: str, coefficient: float | None = None
) -> tuple[dict[Direction, FocusCurve], TemperatureModel | None]:
    """Fit a monotone curve for each measured direction, and the drift with temperature.

    Args:
        passes: with distances.
        device_unit: of the commands, for error messages.
        coefficient: known drift, dioptres per degC; None to measure it.

    Raises:
        InputError: there are too few distances, or the order of the peaks contradicts the distances.
    """
    by_direction: dict[Direction, list[FocusPass]] = defaultdict(list)
    for each in passes:
        by_direction[each.direction].append(each)
    curves = {way: _curve(some, way, device_unit) for way, some in by_direction.items()}
    temperatures = [each.temperature for each in passes if each.temperature is not None]
    if len(temperatures) < len(passes):
        return curves, None
    reference = float(np.median(temperatures))
    spread = None
    if coefficient is None:
        coefficient, spread = _drift(by_direction, curves)
    drift = TemperatureModel(reference, coefficient, spread, min(temperatures), max(temperatures))
    if coefficient:
        curves = {way: _curve(some, way, device_unit, drift) for way, some in by_direction.items()}
    return curves, drift


def left_out_residuals(curve: FocusCurve) -> np.ndarray:
    """Return the leave-one-out residuals of the inner knots: the curve through the others less the knot, dioptres."""
    residuals = []
    for index in range(1, len(curve.commands) - 1):
        others = FocusCurve(np.delete(curve.commands, index), np.delete(curve.dioptres, index))
        residuals.append(float(others.focus(curve.commands[index])) - curve.dioptres[index])
    return np.array(residuals)


def _temperature(series: CalibrationSeries, index: np.ndarray, command: float) -> float | None:
    frames = sorted((series.frames[number] for number in index), key=lambda frame: frame.command)
    temperatures = [frame.temperature for frame in frames if frame.temperature is not None]
    if len(temperatures) < len(frames):
        return None
    return float(np.interp(command, [frame.command for frame in frames], temperatures))


def _curve(
    passes: Sequence[FocusPass], direction: Direction, unit: str, drift: TemperatureModel | None = None
) -> FocusCurve:
    """Return the curve through the mean peak of each distance, at the reference temperature of ``drift``."""
    at: dict[float | None, list[tuple[float, float]]] = defaultdict(list)
    for each in passes:
        moved = 0.0 if drift is None else drift.drift(each.temperature)
        at[each.distance].append((each.peak.command, each.dioptres - moved))
    if len(at) < FEWEST_DISTANCES:
        raise InputError(
            f"There are targets at {len(at)} distances with {direction} command; record {FEWEST_DISTANCES} or more, "
            "about evenly spaced in dioptres."
        )
    knots = sorted((*np.mean(some, axis=0), distance) for distance, some in at.items())
    focus = [dioptre for _, dioptre, _ in knots]
    steps = np.sign(np.diff(focus))
    wrong = np.flatnonzero(steps != (1 if steps.sum() > 0 else -1))
    if len(wrong) or len({command for command, *_ in knots}) < len(knots):
        first = int(wrong[0]) if len(wrong) else int(np.argmin(np.diff([command for command, *_ in knots])))
        (a, _, near), (b, _, far) = knots[first : first + 2]
        raise InputError(
            f"With {direction} command the sharpest focus on the target at {near:g} m is at {a:.5g} {unit} and on "
            f"that at {far:g} m at {b:.5g} {unit}, which contradicts the order of the distances; check both distances."
        )
    return FocusCurve([command for command, *_ in knots], focus)


def _drift(
    by_direction: Mapping[Direction, Sequence[FocusPass]], curves: Mapping[Direction, FocusCurve]
) -> tuple[float | None, float | None]:
    """Return drift (dioptres per degC) and its standard deviation, from distances recorded both cold and warm.

    Only passes at one distance are compared: the lens warms up while the distances are recorded in order, which would
    otherwise look like drift.
    """
    moves, warmings = [], []
    for way, passes in by_direction.items():
        for distance in {each.distance for each in passes}:
            visits = [each for each in passes if each.distance == distance]
            commands = np.array([each.peak.command for each in visits])
            degrees = np.array([each.temperature for each in visits], dtype=np.float64)
            slope = curves[way].slope(float(commands.mean()))
            moves.append(-slope * (commands - commands.mean()))
            warmings.append(degrees - degrees.mean())
    moved, warmed = np.concatenate(moves), np.concatenate(warmings)
    if np.ptp(warmed) < _SMALLEST_WARMING:
        return None, None
    coefficient = float(warmed @ moved / (warmed @ warmed))
    freedom = max(len(moved) - sum(len({p.distance for p in some}) for some in by_direction.values()) - 1, 1)
    left = moved - coefficient * warmed
    spread = float(np.sqrt(left @ left / freedom / (warmed @ warmed)))
    # Two passes differ by a few thousandths of a dioptre without any drift, which bounds the accuracy.
    spread = max(spread, 0.003 / float(np.sqrt(warmed @ warmed)))
    return (coefficient, spread) if abs(coefficient) > _CERTAIN * spread else (0.0, spread)
