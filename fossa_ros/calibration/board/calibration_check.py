"""How wrong a calibration is today: a board at any place against what the lens says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fossa_ros.calibration.board.adjustment import adjust
from fossa_ros.calibration.board.board import Board
from fossa_ros.calibration.board.focus import find_peaks
from fossa_ros.calibration.board.observation import SweepObservation, observe
from fossa_ros.calibration.board.projection import Camera, Corners
from fossa_ros.calibration.lens_calibration import CalibratedDevice, LensCalibration
from fossa_ros.calibration.series import CalibrationSeries, Direction
from fossa_ros.calibration.sharpness import find_centre
from fossa_ros.core.camera_model import PLUMB_BOB
from fossa_ros.core.errors import InputError

TOLERANCE = 0.03
"""Dioptres by which a focus may be off before a calibration is called wrong."""
_REPROJECTION = 1.5  # px, root mean square: beyond it the camera is another one
_DEVIATIONS = 3.0
_BEYOND = 0.25  # of the range of commands: farther out the curves say nothing


@dataclass(frozen=True)
class PlaceCheck:
    """One sweep against a calibration.

    Attributes:
        name: of the sweep.
        board: metres to the board as the camera sees it, the median of its corners.
        focus: metres at which the calibrated lens says that it is sharpest; infinite beyond 0 D.
        error: dioptres of the lens less those of the board, the median.
        peaks: how many were compared.
        reprojection: root mean square distance of corners from where the camera expects them, px.
    """

    name: str
    board: float
    focus: float
    error: float
    peaks: int
    reprojection: float

    @property
    def relative(self) -> float:
        """Error of the distance that the lens says, of the distance of the board."""
        return self.focus / self.board - 1


def check_calibration(
    series: Sequence[CalibrationSeries],
    calibration: LensCalibration,
    board: Board,
    progress: Callable[[], None] = lambda: None,
) -> list[PlaceCheck]:
    """Compare where the lens says that a board is with where the camera sees it, sweep by sweep.

    Args:
        series: a sweep each, in front of the board at one place.
        calibration: with a camera.
        board: as printed.
        progress: called after each image.

    Raises:
        InputError: the calibration has no camera, the commands are not those of its lens, or no sweep shows the board
            and a peak of sharpness.
    """
    checks = []
    for number, each in enumerate(series):
        _refuse_commands(each, calibration.device, number + 1)
        sweep = observe(each, board, f"sweep {number + 1}", progress)
        if sweep is not None:
            made = _checked(sweep, calibration, board)
            if made is not None:
                checks.append(made)
    if not checks:
        raise InputError(
            "No sweep shows the board and a command at which it is sharpest; put the board where the lens focuses, and "
            "step the lens across that."
        )
    return checks


def _refuse_commands(series: CalibrationSeries, device: CalibratedDevice, number: int) -> None:
    """Refuse commands far beyond those that were calibrated. Raises InputError."""
    slack = _BEYOND * (device.greatest - device.least)
    for frame in series.frames:
        if not device.least - slack <= frame.command <= device.greatest + slack:
            raise InputError(
                f"Sweep {number} has the command {frame.command:g}, but the calibration is of commands from "
                f"{device.least:g} to {device.greatest:g} {device.unit}; give sweeps of that lens in that unit."
            )


def verdict(checks: Sequence[PlaceCheck], calibration: LensCalibration) -> tuple[bool, str]:
    """Return whether a calibration still holds, and a sentence that says so."""
    worst = max(checks, key=lambda each: abs(each.error))
    allowed = max(TOLERANCE, _DEVIATIONS * calibration.uncertainty)
    bent = max(checks, key=lambda each: each.reprojection)
    if bent.reprojection > _REPROJECTION:
        return False, (
            f"The camera has changed: corners lie {bent.reprojection:.1f} px from where it should see them in "
            f"{bent.name}; calibrate again."
        )
    off = f"the focus is off by {worst.error:+.3f} D at {worst.board:.2f} m, {allowed:.3f} D are allowed"
    if abs(worst.error) > allowed:
        return False, f"The calibration is wrong: {off}; calibrate again, or correct what has moved."
    return True, f"The calibration holds: {off}."


def camera_of(calibration: LensCalibration, size: tuple[int, int]) -> Camera:
    """Return the camera of a calibration; raises InputError if it has none for images of ``size``."""
    breathing, optics = calibration.breathing, calibration.optics
    if calibration.K is None or breathing is None:
        raise InputError(
            "The calibration has no camera; make one with a board ('fossa calibrate board'), or give --intrinsics to "
            "'fossa calibrate'."
        )
    if size != (breathing.height, breathing.width):
        raise InputError(
            f"The calibration is of {breathing.width}x{breathing.height} images, and these have {size[1]}x{size[0]}; "
            "record at the same resolution."
        )
    return Camera(
        size=size,
        K=calibration.K,
        model=PLUMB_BOB if optics is None else optics.distortion_model,
        D=np.zeros(5) if optics is None else np.array(optics.distortion),
        reference=breathing.reference,
        knots=breathing.dioptres,
        values=np.column_stack([np.log(breathing.scale), breathing.shift]),
        bend=np.zeros(3),
    )


def _checked(sweep: SweepObservation, calibration: LensCalibration, board: Board) -> PlaceCheck | None:
    camera = camera_of(calibration, sweep.size)
    warmth = [None if np.isnan(each) else float(each) for each in sweep.temperatures]
    focus = np.array(
        [
            float(calibration.dioptres(command, way or Direction.RISING, degrees))
            for command, way, degrees in zip(sweep.commands, sweep.directions, warmth, strict=True)
        ]
    )
    corners = Corners(np.zeros(len(sweep.frames), int), sweep.corners[sweep.which], focus[sweep.frames], sweep.pixels)
    placed = adjust(corners, board, camera, rounds=1, fixed=True)
    depth = placed.depth(board, 0, sweep.corners)
    errors = []
    for way in Direction:
        frames = sweep.of(way)
        peaks = find_peaks([sweep], way)
        for corner, command, degrees in zip(peaks.corner, peaks.commands, peaks.temperatures, strict=True):
            said = float(calibration.dioptres(command, way, None if np.isnan(degrees) else float(degrees)))
            centre = find_centre(focus[frames], sweep.sharpness[frames, corner], said)
            errors.append((said if centre is None else centre[0]) - 1 / depth[corner])
    if not errors:
        return None
    distance, error = float(np.median(depth)), float(np.median(errors))
    power = 1 / distance + error
    return PlaceCheck(
        name=sweep.name,
        board=distance,
        focus=1 / power if power > 0 else float("inf"),
        error=error,
        peaks=len(errors),
        reprojection=float(np.sqrt(np.mean(np.square(placed.residuals).sum(axis=1)))),
    )
