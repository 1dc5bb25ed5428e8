"""Where the entrance pupil lies: the point from which the board's distances count, and how it moves with focus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fossa_ros.calibration.board.adjustment import Adjustment
from fossa_ros.calibration.board.observation import SweepObservation
from fossa_ros.calibration.board.projection import Camera, breathing_basis, image_centre

_FEWEST = 12  # coordinates of corners that tell how they move in a sweep
_FEWEST_SWEEPS = 3
_OUTLYING = 4.0  # deviations beyond which a corner does not count
_CERTAIN = 4.0  # deviations


@dataclass(frozen=True)
class EntrancePupil:
    """The entrance pupil along the optical axis.

    Attributes:
        nearest, farthest: metres from the pupil to the middle of the nearest and of the farthest board.
        nearest_uncertainty, farthest_uncertainty: standard deviations of these: of where the pupil lies before them.
        shift: metres by which it moves towards the scene per dioptre of focus; None where the sweeps do not tell.
        shift_uncertainty: standard deviation, metres per dioptre.
    """

    nearest: float
    farthest: float
    nearest_uncertainty: float
    farthest_uncertainty: float
    shift: float | None
    shift_uncertainty: float

    @property
    def moves(self) -> bool:
        """Whether it certainly moves with focus."""
        return self.shift is not None and abs(self.shift) > _CERTAIN * self.shift_uncertainty

    def __str__(self) -> str:
        """Return a sentence."""
        where = (
            f"distances are from it, to +- {1000 * self.nearest_uncertainty:.2f} mm at {self.nearest:.2f} m and +- "
            f"{1000 * self.farthest_uncertainty:.2f} mm at {self.farthest:.2f} m"
        )
        if self.shift is None:
            return f"{where}; the sweeps do not tell whether it moves with focus"
        moves = f"{1000 * self.shift:+.2f} +- {1000 * self.shift_uncertainty:.2f} mm/D"
        if self.moves:
            return f"{where}; it moves towards the scene by {moves} of focus"
        return f"{where}; whether it moves with focus cannot be told from none ({moves})"


def find_pupil(
    sweeps: Sequence[SweepObservation],
    focus: Sequence[np.ndarray],
    distances: Sequence[np.ndarray],
    adjustment: Adjustment,
) -> EntrancePupil:
    """Return where the entrance pupil lies against the board.

    A lens that shows everything larger by a factor does so for near and far boards alike. A pupil that moves towards
    the scene enlarges near boards more, by the shift over the distance: sweeps at several distances tell both apart.

    Args:
        sweeps: observations.
        focus: (F,) dioptres of the frames of each sweep.
        distances: (C,) metres of the corners of each sweep.
        adjustment: camera, and the places of the board.
    """
    middles = np.array([float(np.median(each)) for each in distances])
    near, far = int(middles.argmin()), int(middles.argmax())
    shift, spread = _shift(sweeps, focus, distances, adjustment.camera)
    return EntrancePupil(
        nearest=float(middles[near]),
        farthest=float(middles[far]),
        nearest_uncertainty=float(adjustment.distance_uncertainties[near]),
        farthest_uncertainty=float(adjustment.distance_uncertainties[far]),
        shift=shift,
        shift_uncertainty=spread,
    )


def _shift(
    sweeps: Sequence[SweepObservation], focus: Sequence[np.ndarray], distances: Sequence[np.ndarray], camera: Camera
) -> tuple[float | None, float]:
    """Return metres per dioptre and their standard deviation, by leaving out one sweep after the other.

    Only corners count, and only how each moves among the frames in which it is sharp: registrations of whole boards
    are biased by their blur, which goes with the distance of the board.
    """
    parts = [
        _of_sweep(sweep, at, distance, camera) for sweep, at, distance in zip(sweeps, focus, distances, strict=True)
    ]
    parts = [part for part in parts if len(part) >= _FEWEST]
    if len(parts) < _FEWEST_SWEEPS:
        return None, np.nan
    shift = _solved(np.concatenate(parts))
    without = np.array([_solved(np.concatenate(parts[:number] + parts[number + 1 :])) for number in range(len(parts))])
    spread = np.sqrt((len(parts) - 1) * np.mean(np.square(without - without.mean())))
    return shift, float(spread)


def _of_sweep(
    sweep: SweepObservation, focus: np.ndarray, distances: np.ndarray, camera: Camera
) -> npt.NDArray[np.float64]:
    """Return (2 M, 2 + 3 N) for M observations and N knots of breathing: how each coordinate of a corner differs from
    its mean over the frames, and by what it would for a shift of 1 m/D and for a breathing of 1 at each knot."""
    at = focus[sweep.frames]
    basis = breathing_basis(camera, at)
    arms = sweep.pixels - image_centre(camera.size)
    pupil = (at - camera.reference) / distances[sweep.which]
    none = np.zeros_like(basis)
    across = np.column_stack([sweep.pixels[:, 0], arms[:, 0] * pupil, arms[:, :1] * basis, basis, none])
    down = np.column_stack([sweep.pixels[:, 1], arms[:, 1] * pupil, arms[:, 1:] * basis, none, basis])
    kept = []
    for corner in np.unique(sweep.which):
        mine = np.flatnonzero(sweep.which == corner)
        if len(mine) > 1:
            kept += [rows[mine] - rows[mine].mean(axis=0) for rows in (across, down)]
    return np.concatenate(kept) if kept else np.zeros((0, across.shape[1]))


def _solved(rows: np.ndarray) -> float:
    """Return the shift that explains the rows best."""
    left = rows
    for _ in range(2):
        solution = np.linalg.lstsq(left[:, 1:], left[:, 0], rcond=None)[0]
        residuals = rows[:, 0] - rows[:, 1:] @ solution
        spread = 1.4826 * float(np.median(np.abs(residuals)))
        left = rows[np.abs(residuals) <= _OUTLYING * max(spread, 1e-9)]
    return float(solution[0])
