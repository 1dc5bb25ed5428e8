"""Calibrate camera and lens from sweeps in front of a printed board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from fossa_ros.calibration.board.adjustment import KNOTS, Adjustment, Registrations, adjust
from fossa_ros.calibration.board.blur import BlurGain, measure_blur
from fossa_ros.calibration.board.board import Board
from fossa_ros.calibration.board.board_calibration import BoardCalibration
from fossa_ros.calibration.board.checks import (
    board_in,
    check_enough,
    check_lens_moves,
    check_sizes,
    refuse_bent,
    weaknesses,
)
from fossa_ros.calibration.board.focus import FocusFit, FocusPeaks, centre_peaks, find_peaks, fit_focus
from fossa_ros.calibration.board.model_choice import choose_model, without_breathing
from fossa_ros.calibration.board.observation import SweepObservation, observe
from fossa_ros.calibration.board.projection import Camera, Corners, breathing_basis, first_camera, spline_basis
from fossa_ros.calibration.board.pupil import find_pupil
from fossa_ros.calibration.lens_calibration import Breathing, CalibratedDevice, LensCalibration, Optics
from fossa_ros.calibration.series import CalibrationSeries, Direction
from fossa_ros.core.camera_model import EQUIDISTANT, PLUMB_BOB
from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptres

_ROUNDS = 2  # of focus from distances, and distances from a camera whose breathing needs the focus


def calibrate_board(
    series: Sequence[CalibrationSeries],
    device: CalibratedDevice,
    board: Board,
    *,
    reference: float | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> BoardCalibration:
    """Find camera, distortion, breathing, focus, hysteresis, drift and blur from sweeps in front of the board.

    Args:
        series: a sweep each, the board standing at one place; distances are not needed.
        device: the lens.
        board: as printed.
        reference: dioptres at which K holds; None for the middle of those on the board.
        progress: called with "frames" after each image, and with "adjustment" after each step.

    Raises:
        InputError: the sweeps do not allow a calibration; says what to change.
    """
    board_in(series, board.paper)
    observed = [observe(each, board, f"sweep {n + 1}", lambda: progress("frames")) for n, each in enumerate(series)]
    check_lens_moves(series, observed)
    usable = [(each, sweep) for each, sweep in zip(series, observed, strict=True) if sweep is not None]
    check_enough(len(usable), len(series))
    sweeps = tuple(sweep for _, sweep in usable)
    check_sizes(sweeps)
    size = sweeps[0].size
    peaks = {way: find_peaks(sweeps, way) for way in Direction}
    rough = _corners(sweeps, None)
    camera = _first(rough, board, size)
    adjustment = adjust(rough, board, camera, rounds=1)
    progress("adjustment")
    models: dict[str, float] = {}
    for number in range(_ROUNDS + 1):
        fit = fit_focus(peaks, _dioptres(peaks, sweeps, adjustment, board))
        peaks = {way: centre_peaks(sweeps, way, peaks[way], fit) if way in fit.curves else peaks[way] for way in peaks}
        fit = fit_focus(peaks, _dioptres(peaks, sweeps, adjustment, board))
        focus = [fit.focus(sweep) for sweep in sweeps]
        low, high = _span(fit)
        start = _breathing_start(adjustment.camera, focus, (low + high) / 2 if reference is None else reference)
        corners = _corners(sweeps, focus)
        if number == 1:
            held = without_breathing(corners, adjustment.camera)
            name, models = choose_model(held, board, size)
            if name != start.model:
                first = first_camera(held, board, size, name)
                assert first is not None  # the model was fitted to this
                first = adjust(held, board, first, rounds=1).camera
                start = replace(start, K=first.K, D=first.D, model=name)
                adjustment = replace(adjustment, rotations=np.zeros(0))
            progress("adjustment")
        poses = (adjustment.rotations, adjustment.translations) if len(adjustment.rotations) else None
        registrations = _registrations(sweeps, focus)
        adjustment = adjust(corners, board, start, registrations, poses)
        progress("adjustment")
    bent = adjust(
        corners,
        board,
        adjustment.camera,
        registrations,
        (adjustment.rotations, adjustment.translations),
        bend=True,
        rounds=1,
    )
    refuse_bent(bent, board)
    fit = fit_focus(peaks, _dioptres(peaks, sweeps, adjustment, board))
    distances = tuple(adjustment.depth(board, number, sweep.corners) for number, sweep in enumerate(sweeps))
    powers = [dioptres(each) for each in distances]
    loads = [[frame.load for frame in each.frames] for each, _ in usable]
    blur = measure_blur(sweeps, loads, focus, powers, adjustment.camera)
    progress("adjustment")
    calibration = _calibration(device, fit, adjustment, blur)
    result = BoardCalibration(
        calibration=calibration,
        board=board,
        series=tuple(each for each, _ in usable),
        sweeps=sweeps,
        adjustment=adjustment,
        fit=fit,
        peaks=peaks,
        distances=distances,
        focus=tuple(focus),
        blur=blur,
        pupil=find_pupil(sweeps, focus, distances, adjustment),
        models=models,
        warnings=(),
    )
    unseen = [f"sweep {n + 1}" for n, sweep in enumerate(observed) if sweep is None]
    return replace(result, warnings=tuple(weaknesses(result, bent, unseen)))


def _first(corners: Corners, board: Board, size: tuple[int, int]) -> Camera:
    """Return a camera of whichever kind of lens explains the board better to begin with."""
    found = []
    for model in (PLUMB_BOB, EQUIDISTANT):
        start = first_camera(corners, board, size, model)
        if start is not None:
            fitted = adjust(corners, board, start, rounds=1)
            found.append((float(np.median(np.abs(fitted.residuals))), fitted.camera))
    if not found:
        raise InputError("The board cannot be placed in every sweep; show more of it, and tilt it less.")
    return min(found, key=lambda each: each[0])[1]


def _corners(sweeps: Sequence[SweepObservation], focus: Sequence[np.ndarray] | None) -> Corners:
    """Return all observations of corners; at focus 0 while that is unknown."""
    return Corners(
        np.concatenate([np.full(len(sweep.frames), number) for number, sweep in enumerate(sweeps)]),
        np.concatenate([sweep.corners[sweep.which] for sweep in sweeps]),
        np.concatenate(
            [
                np.zeros(len(sweep.frames)) if focus is None else focus[number][sweep.frames]
                for number, sweep in enumerate(sweeps)
            ]
        ),
        np.concatenate([sweep.pixels for sweep in sweeps]),
    )


def _registrations(sweeps: Sequence[SweepObservation], focus: Sequence[np.ndarray]) -> Registrations:
    ends = [(at[a], at[b]) for sweep, at in zip(sweeps, focus, strict=True) for a, b, _ in sweep.steps]
    steps = [step for sweep in sweeps for *_, step in sweep.steps]
    return Registrations(np.array(ends).reshape(-1, 2), np.array(steps).reshape(-1, 3))


def _dioptres(
    peaks: dict[Direction, FocusPeaks], sweeps: Sequence[SweepObservation], adjustment: Adjustment, board: Board
) -> dict[Direction, np.ndarray]:
    """Return the dioptres of the corner of each peak."""
    depths = [adjustment.depth(board, number, sweep.corners) for number, sweep in enumerate(sweeps)]
    return {
        way: np.array([1 / depths[sweep][corner] for sweep, corner in zip(each.sweep, each.corner, strict=True)])
        for way, each in peaks.items()
    }


def _span(fit: FocusFit) -> tuple[float, float]:
    ends = [curve.dioptres[[0, -1]] for curve in fit.curves.values()]
    return float(np.min(ends)), float(np.max(ends))


def _breathing_start(camera: Camera, focus: Sequence[np.ndarray], reference: float) -> Camera:
    """Return the camera with knots over the focus of all frames, beginning with the breathing that it has."""
    everything = np.concatenate(list(focus))
    knots = np.linspace(everything.min(), everything.max(), KNOTS)
    values = spline_basis(camera.knots, knots) @ camera.values if len(camera.knots) else np.zeros((KNOTS, 3))
    return replace(camera, reference=reference, knots=knots, values=values)


def _calibration(
    device: CalibratedDevice, fit: FocusFit, adjustment: Adjustment, blur: BlurGain | None
) -> LensCalibration:
    camera = adjustment.camera
    height, width = camera.size
    places = camera.knots if camera.knots[0] >= 0 else np.linspace(0.0, camera.knots[-1], KNOTS)
    change = breathing_basis(camera, places) @ camera.values
    breathing = Breathing(
        width, height, camera.reference, places, np.exp(change[:, 0]), change[:, 1:], adjustment.scale_uncertainty
    )
    pupil = None if blur is None else blur.pixels_per_dioptre / float(camera.K[0, 0])
    spread = None if blur is None else blur.uncertainty / float(camera.K[0, 0])
    optics = Optics(camera.model, tuple(camera.D.tolist()), float(adjustment.fx_uncertainty), pupil, spread)
    rising = fit.curves.get(Direction.RISING) or fit.curves[Direction.FALLING]
    return LensCalibration(
        device=device,
        rising=rising,
        falling=fit.curves.get(Direction.FALLING) or rising,
        uncertainty=fit.uncertainty,
        temperature=fit.temperature,
        breathing=breathing,
        K=camera.K,
        optics=optics,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
