"""What a calibration with a printed board found, and what it is based on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fossa_ros.calibration.board.adjustment import Adjustment
from fossa_ros.calibration.board.blur import BlurGain
from fossa_ros.calibration.board.board import Board
from fossa_ros.calibration.board.focus import FocusFit, FocusPeaks
from fossa_ros.calibration.board.observation import SweepObservation
from fossa_ros.calibration.board.pupil import EntrancePupil
from fossa_ros.calibration.lens_calibration import LensCalibration
from fossa_ros.calibration.series import CalibrationSeries, Direction


@dataclass(frozen=True, eq=False)
class BoardCalibration:
    """A calibration with a board, and what it is based on.

    Attributes:
        calibration: for the node.
        board: as it was taken for.
        series: those of which the board can be seen, and
        sweeps: what was observed in each.
        adjustment: camera, breathing and the places of the board.
        fit: curves of focus.
        peaks: of every corner, by direction.
        distances: (C,) metres of the corners of each sweep.
        focus: (F,) dioptres of the frames of each sweep.
        blur: None if too few views tell.
        pupil: where the distances count from.
        models: error of each model of distortion where it was not adjusted, px.
        warnings: sentences about what is weak and what to do.
    """

    calibration: LensCalibration
    board: Board
    series: tuple[CalibrationSeries, ...]
    sweeps: tuple[SweepObservation, ...]
    adjustment: Adjustment
    fit: FocusFit
    peaks: dict[Direction, FocusPeaks]
    distances: tuple[np.ndarray, ...]
    focus: tuple[np.ndarray, ...]
    blur: BlurGain | None
    pupil: EntrancePupil
    models: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether nothing is weak."""
        return not self.warnings

    @property
    def verdict(self) -> str:
        """One line."""
        made = self.calibration
        far = f"{made.farthest:.2f} m" if made.farthest < 100 else "infinity"
        words = (
            f"metric from {made.nearest:.2f} m to {far}, focus within {2 * made.uncertainty:.3f} D, "
            f"fx within {2 * self.adjustment.fx_uncertainty:.2%}"
        )
        if self.good:
            return f"Good: {words}."
        count = len(self.warnings)
        return f"Usable, with {count} weakness{'es' * (count > 1)}: {words}. First: {self.warnings[0]}"
