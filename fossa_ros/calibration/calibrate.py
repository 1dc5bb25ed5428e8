"""From series of images to a lens calibration, with all that people should see of the way there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from fossa_ros.calibration.breathing_measurement import BreathingCurve, measure_breathing
from fossa_ros.calibration.lens_calibration import Breathing, CalibratedDevice, LensCalibration
from fossa_ros.calibration.peaks import FocusPass, Region, cropped, fit_curves, left_out_residuals, measure_passes
from fossa_ros.calibration.series import CalibrationSeries, Direction
from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptres
from fossa_ros.core.stack import checked_intrinsics

MUCH_HYSTERESIS = 0.1  # D
MUCH_UNCERTAINTY = 0.05  # D
_LOOK = {"images": 27, "knots": None}  # breathing is smooth in dioptres; in the commands of an unknown lens it may kink


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """A calibration and its making.

    Attributes:
        calibration: None where no distances were given, so that there are curves to look at and nothing else.
        passes: sharpness curves and their peaks.
        residuals: by direction, dioptres that each inner distance is missed by when it is left out.
        breathing: scale and shift over dioptres, or over commands where there is no calibration; None where it was
            not wanted.
        warnings: what the user should know, a sentence each.
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
        series: of each target; either all distances are known or none.
        device: which lens.
        region: part of the image that shows the target, for sharpness and breathing; None for all of it.
        reference_distance: focus in metres at which the camera's intrinsics hold and breathing is 1; None for the
            middle of the measured range of dioptres.
        K: (3, 3) intrinsic matrix at that focus and the images' size, None where not known.
        coefficient: drift in dioptres a degC where known already.
        breathing: whether to measure it.
        progress: called with the name of the stage after each image or pair of images.

    Raises:
        InputError: images from which no calibration can be made, and what to change.
    """
    if not series:
        raise InputError("There is nothing to calibrate from; give images of targets at known distances.")
    passes = measure_passes(series, region, lambda: progress("sharpness"))
    known = [each.distance is not None for each in series]
    if any(known) and not all(known):
        raise InputError(f"{series[known.index(False)]} has no distance while others have; add it.")
    if not all(known):
        curve = _breathing(series, region, None, breathing, progress)
        warning = "No distances were given: the curves can be looked at, but metres cannot be told."
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
    return CalibrationResult(
        calibration, tuple(passes), residuals, curve, tuple(_warnings(calibration, curves, passes, curve))
    )


def _breathing(series, region, calibration, wanted: bool, progress) -> BreathingCurve | None:
    """Measure breathing over dioptres, or over commands without a calibration."""
    if not wanted:
        return None
    groups = []
    for each in series:
        frames = []
        for frame, way in zip(each.frames, each.directions(), strict=True):
            position = frame.command
            if calibration is not None:
                if way is None:  # which curve counts is not known before the first move
                    continue
                position = float(calibration.dioptres(frame.command, way, frame.temperature))
                low, high = calibration.range
                if not low <= position <= high:
                    continue
            frames.append((position, lambda frame=frame: cropped(frame.load(), region)))
        groups.append(frames)
    return measure_breathing(
        [group for group in groups if len(group) > 1],
        progress=lambda: progress("breathing"),
        **(_LOOK if calibration is None else {}),
    )


def _with_breathing(calibration, curve: BreathingCurve, reference: float, size, region, K) -> LensCalibration:
    height, width = size
    offset = np.zeros(2)
    if region is not None:  # scale about the region's centre is scale about the image's with another shift
        left, top, across, down = region
        offset = np.array([left + (across - 1) / 2 - (width - 1) / 2, top + (down - 1) / 2 - (height - 1) / 2])
    places = curve.positions[curve.positions >= 0] if (curve.positions >= 0).sum() > 1 else curve.positions
    values = curve.at(places) - curve.at(reference)
    scale = np.exp(values[:, 0])
    shift = values[:, 1:] + (1 - scale)[:, None] * offset
    breathing = Breathing(width, height, reference, places, scale, shift, curve.uncertainty)
    matrix = None if K is None else checked_intrinsics(K, size)
    return replace(calibration, breathing=breathing, K=matrix)


def _uncertainty(passes, curves, residuals) -> float:
    """Combine what the curves miss left-out distances by with how well each peak is known, in dioptres."""
    left = np.concatenate(list(residuals.values()))
    peaks = [each.peak.uncertainty * curves[each.direction].slope(each.peak.command) for each in passes]
    return math.hypot(float(np.sqrt(np.mean(left**2))), float(np.sqrt(np.mean(np.square(peaks)))))


def _warnings(calibration: LensCalibration, curves, passes, curve):
    for way in Direction:
        if way not in curves:
            yield f"No pass with {way} command: hysteresis is unknown; step the lens both ways."
    if calibration.hysteresis > MUCH_HYSTERESIS:
        yield (
            f"Hysteresis is {calibration.hysteresis:.2f} D: each direction has a curve of its own, which holds after "
            "moves that are longer than that."
        )
    if calibration.uncertainty > MUCH_UNCERTAINTY:
        yield (
            f"The curve misses distances that are left out by {calibration.uncertainty:.2f} D; measure the distances "
            "again, and add some where the curve bends."
        )
    temperature = calibration.temperature
    if temperature is not None and temperature.coefficient is None:
        yield (
            "Drift with temperature is unknown: no distance was seen both cold and warm; take one again after the "
            "lens has warmed up (live: --soak)."
        )
    if curve is not None:
        registered, missed = curve.registered
        if missed > registered / 5:
            yield f"{missed} of {registered + missed} pairs of images could not be registered; breathing is less sure."
