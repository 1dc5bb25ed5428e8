"""Which command focuses on each target, from which side, and what temperature has to do with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.lens_calibration import TemperatureModel
from fossa_ros.calibration.series import CalibrationSeries, Direction
from fossa_ros.calibration.sharpness import Peak, find_peak, sharpness
from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptres

FEWEST_DISTANCES = 3
_SMALLEST_WARMING = 1.0  # degC between two visits of one distance, from which a coefficient can be told
_CERTAIN = 3.0  # standard deviations that a coefficient must differ from 0 to be used
Region = tuple[int, int, int, int]  # left, top, width, height in px


@dataclass(frozen=True, eq=False)
class FocusPass:
    """The lens went once through its range before one target.

    Attributes:
        series: number of the series.
        distance: of the target, metres; None where unknown.
        direction: the way the lens went.
        commands, values: the sharpness curve.
        peak: where it is sharpest.
        temperature: degC of the lens there, None where unknown.
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
        """Focus at the peak, dioptres."""
        return float(dioptres(self.distance))


def measure_passes(
    series: Sequence[CalibrationSeries], region: Region | None = None, progress: Callable[[], None] = lambda: None
) -> list[FocusPass]:
    """Find the sharpest focus of every pass of every series.

    Args:
        series: of each target.
        region: part of the image that shows the target; None for all of it.
        progress: called after each image.

    Raises:
        InputError: a pass without one clear peak, or a region outside the images.
    """
    found = []
    for number, each in enumerate(series):
        values = []
        for frame in each.frames:
            values.append(sharpness(cropped(frame.load(), region)))
            progress()
        values = np.array(values)
        commands = np.array([frame.command for frame in each.frames])
        passes = each.passes()
        if not passes:
            raise InputError(f"{each}: the lens was not moved; step it through its range.")
        for direction, numbers in passes:
            index = np.array(numbers)
            peak = find_peak(commands[index], values[index], f"{each}, {direction} command")
            temperature = _temperature(each, index, peak.command)
            found.append(FocusPass(number, each.distance, direction, commands[index], values[index], peak, temperature))
    return found


def cropped(image: np.ndarray, region: Region | None) -> np.ndarray:
    """Return the region of an (H, W) image, all of it for None; raises InputError where there is no such region."""
    if region is None:
        return image
    left, top, width, height = region
    part = image[top : top + height, left : left + width] if min(left, top) >= 0 else image[:0]
    if part.shape != (height, width) or min(part.shape) < 16:
        raise InputError(
            f"The region {left},{top},{width},{height} is no part of 16 px or more of the "
            f"{image.shape[1]}x{image.shape[0]} images; correct --roi."
        )
    return part


def fit_curves(
    passes: Sequence[FocusPass], device_unit: str, coefficient: float | None = None
) -> tuple[dict[Direction, FocusCurve], TemperatureModel | None]:
    """Fit monotone curves, one for each direction that was measured, and the drift with temperature.

    Args:
        passes: with distances.
        device_unit: of the commands, for messages.
        coefficient: dioptres a degC where known already, which is then not measured.

    Raises:
        InputError: too few distances, or peaks whose order contradicts the distances.
    """
    by_direction = defaultdict(list)
    for each in passes:
        by_direction[each.direction].append(each)
    curves = {way: _curve(some, way, device_unit, 0.0, None) for way, some in by_direction.items()}
    temperatures = [each.temperature for each in passes if each.temperature is not None]
    if len(temperatures) < len(passes):
        return curves, None
    reference = float(np.median(temperatures))
    spread = None
    if coefficient is None:
        coefficient, spread = _drift(by_direction, curves)
    if coefficient:
        curves = {way: _curve(some, way, device_unit, coefficient, reference) for way, some in by_direction.items()}
    return curves, TemperatureModel(reference, coefficient, spread, min(temperatures), max(temperatures))


def left_out_residuals(curve: FocusCurve) -> np.ndarray:
    """Return what the curve through the other knots says of each inner knot, less what it is, in dioptres."""
    residuals = []
    for index in range(1, len(curve.commands) - 1):
        others = FocusCurve(np.delete(curve.commands, index), np.delete(curve.dioptres, index))
        residuals.append(float(others.focus(curve.commands[index])) - curve.dioptres[index])
    return np.array(residuals)


def _temperature(series: CalibrationSeries, index, command: float) -> float | None:
    frames = [series.frames[number] for number in index]
    if any(frame.temperature is None for frame in frames):
        return None
    ordered = sorted(frames, key=lambda frame: frame.command)
    return float(np.interp(command, [f.command for f in ordered], [f.temperature for f in ordered]))


def _curve(passes, direction, unit: str, coefficient: float, reference: float | None) -> FocusCurve:
    """Return the curve through the mean peak of each distance, brought to the reference temperature."""
    at = defaultdict(list)
    for each in passes:
        drift = coefficient * (each.temperature - reference) if coefficient else 0.0
        at[each.distance].append((each.peak.command, each.dioptres - drift))
    if len(at) < FEWEST_DISTANCES:
        raise InputError(
            f"Targets at {len(at)} distances were seen with {direction} command; a calibration takes "
            f"{FEWEST_DISTANCES} or more, about evenly spaced in dioptres."
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
            f"that at {far:g} m at {b:.5g} {unit}, out of the order of the other distances; check both distances."
        )
    return FocusCurve([command for command, *_ in knots], focus)


def _drift(by_direction, curves) -> tuple[float | None, float | None]:
    """Return the drift in dioptres a degC and its deviation, from distances that were seen warm and cold.

    Only visits of one distance are compared, so that the order in which distances were taken, while the lens
    grew warmer, cannot pass for drift.
    """
    moved, warmed = [], []
    for way, passes in by_direction.items():
        for distance in {each.distance for each in passes}:
            visits = [each for each in passes if each.distance == distance]
            commands = np.array([each.peak.command for each in visits])
            degrees = np.array([each.temperature for each in visits])
            slope = curves[way].slope(float(commands.mean()))
            moved.append(-slope * (commands - commands.mean()))
            warmed.append(degrees - degrees.mean())
    moved, warmed = np.concatenate(moved), np.concatenate(warmed)
    if np.ptp(warmed) < _SMALLEST_WARMING:
        return None, None
    coefficient = float(warmed @ moved / (warmed @ warmed))
    freedom = max(len(moved) - sum(len({p.distance for p in some}) for some in by_direction.values()) - 1, 1)
    left = moved - coefficient * warmed
    spread = float(np.sqrt(left @ left / freedom / (warmed @ warmed)))
    # What two visits differ by without any drift, a few thousandths of a dioptre, bounds what can be told.
    spread = max(spread, 0.003 / float(np.sqrt(warmed @ warmed)))
    return (coefficient, spread) if abs(coefficient) > _CERTAIN * spread else (0.0, spread)
