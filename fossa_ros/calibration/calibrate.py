"""Calibrate a lens from series of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np

from fossa_ros.calibration.breathing_measurement import BreathingCurve, measure_breathing
from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.lens_calibration import Breathing, CalibratedDevice, LensCalibration
from fossa_ros.calibration.peaks import FocusPass, Region, cropped, fit_curves, left_out_residuals, measure_passes
from fossa_ros.calibration.series import CalibrationFrame, CalibrationSeries, Direction
from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptres
from fossa_ros.core.stack import checked_intrinsics

LARGE_HYSTERESIS = 0.1  # D
LARGE_UNCERTAINTY = 0.05  # D


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """A calibration, and the measurements behind it.

    Attributes:
        calibration: None if the distances are unknown; there are only curves to look at then.
        passes: sharpness curves and their peaks.
        residuals: leave-one-out residuals of the inner distances by direction, dioptres.
        breathing: scale and shift over dioptres, or over commands without a calibration; None if not measured.
        warnings: a sentence each.
    """

    calibration: LensCalibration | None
    passes: tuple[FocusPass, ...]
    residuals: dict[Direction, np.ndarray]
    breathing: BreathingCurve | None
    warnings: tuple[str, ...]


def calibrate(
    series: Sequence[CalibrationSeries],
    device: CalibratedDevice,
    *,
    region: Region | None = None,
    reference_distance: float | None = None,
    K: np.ndarray | None = None,
    coefficient: float | None = None,
    breathing: bool = True,
    progress: Callable[[str], None] = lambda task: None,
) -> CalibrationResult:
    """Measure focus, hysteresis, drift and breathing.

    Args:
        series: of each target; the distances are either all known or all unknown.
        device: the lens.
        region: part of the image that shows the target, for sharpness and breathing; None for the whole image.
        reference_distance: focus in metres at which the intrinsics of the camera hold and the breathing is 1; None for
            the middle of the measured range of dioptres.
        K: (3, 3) intrinsic matrix at that focus and the size of the images, None if unknown.
        coefficient: known drift, dioptres per degC; None to measure it.
        breathing: whether to measure breathing.
        progress: called with the name of the stage, sharpness or breathing, after each image or pair of images.

    Raises:
        InputError: the images do not allow a calibration; says what to change.
    """
    if not series:
        raise InputError("There are no images to calibrate from; give images of targets at known distances.")
    passes = measure_passes(series, region, lambda: progress("sharpness"))
    known = [each.distance is not None for each in series]
    if any(known) and not all(known):
        raise InputError(f"{series[known.index(False)]} has no distance, but others have one; add it.")
    if not all(known):
        curve = _breathing(series, region, None, breathing, progress)
        warning = "No distances were given: there are curves, but no calibration in metres."
        return CalibrationResult(None, tuple(passes), {}, curve, (warning,))
    curves, temperature = fit_curves(passes, device.unit, coefficient)
    residuals = {way: left_out_residuals(curve) for way, curve in curves.items()}
    rising = curves.get(Direction.RISING) or curves[Direction.FALLING]
    falling = curves.get(Direction.FALLING) or rising
    calibration = LensCalibration(
        device=device,
        rising=rising,
        falling=falling,
        uncertainty=_uncertainty(passes, curves, residuals),
        temperature=temperature,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    curve = _breathing(series, region, calibration, breathing, progress)
    if curve is not None:
        size = series[0].frames[0].load().shape
        low, high = rising.dioptres.min(), rising.dioptres.max()
        reference = (low + high) / 2 if reference_distance is None else float(dioptres(reference_distance))
        calibration = _with_breathing(calibration, curve, reference, size, region, K)
    return CalibrationResult(calibration, tuple(passes), residuals, curve, tuple(_warnings(calibration, curves, curve)))


def _breathing(
    series: Sequence[CalibrationSeries],
    region: Region | None,
    calibration: LensCalibration | None,
    enabled: bool,
    progress: Callable[[str], None],
) -> BreathingCurve | None:
    """Measure breathing over dioptres, or over commands without a calibration."""
    if not enabled:
        return None
    groups = []
    for each in series:
        frames = []
        for frame, way in zip(each.frames, each.directions(), strict=True):
            position = frame.command
            if calibration is not None:
                if way is None:  # the direction is unknown before the first move
                    continue
                position = float(calibration.dioptres(frame.command, way, frame.temperature))
                low, high = calibration.range
                if not low <= position <= high:
                    continue
            frames.append((position, partial(_load, frame, region)))
        groups.append(frames)
    groups = [group for group in groups if len(group) > 1]
    if calibration is None:  # breathing is smooth over dioptres, but not over the commands of an unknown lens
        return measure_breathing(groups, images=27, knots=None, progress=lambda: progress("breathing"))
    return measure_breathing(groups, progress=lambda: progress("breathing"))


def _load(frame: CalibrationFrame, region: Region | None) -> np.ndarray:
    return cropped(frame.load(), region)


def _with_breathing(
    calibration: LensCalibration,
    curve: BreathingCurve,
    reference: float,
    size: tuple[int, int],
    region: Region | None,
    K: np.ndarray | None,
) -> LensCalibration:
    height, width = size
    offset = np.zeros(2)
    if region is not None:  # a scale about the centre of the region is one about that of the image, and a shift
        left, top, across, down = region
        offset = np.array([left + (across - 1) / 2 - (width - 1) / 2, top + (down - 1) / 2 - (height - 1) / 2])
    places = curve.positions[curve.positions >= 0] if (curve.positions >= 0).sum() > 1 else curve.positions
    values = curve.at(places) - curve.at(reference)
    scale = np.exp(values[:, 0])
    shift = values[:, 1:] + (1 - scale)[:, None] * offset
    breathing = Breathing(width, height, reference, places, scale, shift, curve.uncertainty)
    matrix = None if K is None else checked_intrinsics(K, size)
    return replace(calibration, breathing=breathing, K=matrix)


def _uncertainty(
    passes: Sequence[FocusPass], curves: Mapping[Direction, FocusCurve], residuals: Mapping[Direction, np.ndarray]
) -> float:
    """Return the root sum square of leave-one-out residuals and the uncertainty of the peaks, dioptres."""
    left = np.concatenate(list(residuals.values()))
    peaks = [each.peak.uncertainty * curves[each.direction].slope(each.peak.command) for each in passes]
    return math.hypot(float(np.sqrt(np.mean(left**2))), float(np.sqrt(np.mean(np.square(peaks)))))


def _warnings(
    calibration: LensCalibration, curves: Mapping[Direction, FocusCurve], breathing: BreathingCurve | None
) -> Iterator[str]:
    for way in Direction:
        if way not in curves:
            yield f"No pass with {way} command: hysteresis is unknown; step the lens both ways."
    if calibration.hysteresis > LARGE_HYSTERESIS:
        yield (
            f"Hysteresis is {calibration.hysteresis:.2f} D: each direction has its own curve, which holds after longer "
            "moves than that."
        )
    if calibration.uncertainty > LARGE_UNCERTAINTY:
        yield (
            f"The uncertainty is {calibration.uncertainty:.2f} D; measure the distances again, and add some where the "
            "curve bends."
        )
    temperature = calibration.temperature
    if temperature is not None and temperature.coefficient is None:
        yield (
            "Drift with temperature is unknown: no distance was recorded both cold and warm; repeat one after the lens "
            "has warmed up (live: --soak)."
        )
    if breathing is not None:
        registered, missed = breathing.registered
        if missed > registered / 5:
            yield f"{missed} of {registered + missed} pairs of images could not be registered, breathing is uncertain."
