"""Camera, breathing and the places of the board, adjusted to everything that was observed at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fossa_ros.calibration.board.board import Board
from fossa_ros.calibration.board.projection import (
    COEFFICIENTS,
    Camera,
    Corners,
    bent_corners,
    board_pose,
    breathing_basis,
    project,
)
from fossa_ros.core.camera_model import EQUIDISTANT, PLUMB_BOB
from fossa_ros.core.errors import InputError

KNOTS = 4
"""Of the spline of breathing over dioptres, evenly spaced."""
_PRIOR = {  # share by which each term moves the corner of the image before any image tells: the higher, the less
    PLUMB_BOB: (0.3, 0.1, 0.01, 0.01, 0.03),
    EQUIDISTANT: (0.1, 0.03, 0.01, 0.003),
}
_FREE = 1.0  # standard deviation of a coefficient of the rational model, which trades one for another
_BEND_PRIOR = 0.02  # m
_CORNER, _SCALE, _SHIFT = 0.1, 2e-4, 0.05  # px, log scale, px: first guess of the deviations of observations
_FLOORS = 0.02, 2e-5, 0.01  # least deviations that are believed
_PERCENT = 1e-2
_ROBUST = 2.0  # deviations beyond which an observation gets less weight


Deviations = tuple[float, float, float]
"""Standard deviations of observations: corners (px), log scales, and shifts (px)."""


@dataclass(frozen=True, eq=False)
class Registrations:
    """Scale and shift between frames: (M, 2) dioptres of both, and (M, 3) log scale and shift about the centre, px."""

    focus: npt.NDArray[np.float64]
    steps: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Adjustment:
    """The outcome.

    Attributes:
        camera: fitted.
        rotations, translations: (S, 3) of the board in the camera's frame, by sweep: axis times angle; metres.
        residuals: (M, 2) px of the corners, observed less predicted.
        deviations: standard deviations of corners (px), log scales and shifts (px), as found.
        fx_uncertainty: of its logarithm.
        scale_uncertainty: of the log scale between the ends of the knots.
        distance_uncertainties: (S,) metres, of the distance of the middle of the board by sweep.
        bend_uncertainty: (3,) metres.
    """

    camera: Camera
    rotations: npt.NDArray[np.float64]
    translations: npt.NDArray[np.float64]
    residuals: npt.NDArray[np.float64]
    deviations: Deviations
    fx_uncertainty: float
    scale_uncertainty: float
    distance_uncertainties: npt.NDArray[np.float64]
    bend_uncertainty: npt.NDArray[np.float64]

    def depth(self, board: Board, sweep: int, corners: np.ndarray) -> npt.NDArray[np.float64]:
        """Return the distance of corners from the entrance pupil along the optical axis, metres."""
        points = bent_corners(board, self.camera.bend)[corners]
        turn = cv2.Rodrigues(self.rotations[sweep])[0]
        depth: npt.NDArray[np.float64] = points @ turn[2] + self.translations[sweep, 2]
        return depth


def adjust(
    corners: Corners,
    board: Board,
    start: Camera,
    registrations: Registrations | None = None,
    poses: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    bend: bool = False,
    rounds: int = 2,
    fixed: bool = False,
) -> Adjustment:
    """Fit camera, breathing and the pose of every sweep by robust least squares.

    Args:
        corners: observations; each sweep has ``FEWEST_CORNERS`` or more.
        board: the board.
        start: camera to begin with; breathing is fitted if it has knots.
        registrations: which tell breathing where no corner is sharp.
        poses: to begin with.
        bend: whether the paper may be bent.
        rounds: of estimating the deviations of observations.
        fixed: whether camera and breathing stay as they are, and the board is placed only.

    Raises:
        InputError: the board cannot be placed in some sweep.
    """
    from scipy.optimize import least_squares

    problem = _Problem(corners, board, start, registrations, bend)
    x = problem.packed(_placed(corners, board, start) if poses is None else poses)
    held = problem.poses if fixed else 0
    deviations: Deviations = (_CORNER, _SCALE, _SHIFT)
    for _ in range(rounds):
        fit = least_squares(
            problem.residuals,
            x[held:],
            jac=problem.jacobian,
            args=(x[:held], deviations),
            loss="soft_l1",
            f_scale=_ROBUST,
            x_scale=problem.scales[held:],
            max_nfev=40,
            ftol=1e-6,
            xtol=1e-7,
        )
        x = np.concatenate([x[:held], fit.x])
        at, steps = problem.left(x)
        deviations = _deviations(at, steps)
    camera, turn, shift = problem.unpacked(x)
    final = np.asarray(fit.jac)
    covariance = np.linalg.pinv(final.T @ final)
    spreads = np.concatenate([np.zeros(held), np.sqrt(np.maximum(np.diag(covariance), 0))])
    return Adjustment(
        camera=camera,
        rotations=turn,
        translations=shift,
        residuals=at,
        deviations=deviations,
        fx_uncertainty=float(spreads[0]),
        scale_uncertainty=float(spreads[problem.bend - 3] * _PERCENT) if problem.knots else float("nan"),
        distance_uncertainties=_distance_spreads(board, turn, covariance),
        bend_uncertainty=spreads[problem.bend : problem.poses] if bend else np.full(3, np.nan),
    )


class _Problem:
    """One adjustment: what is unknown, as one vector of numbers, and what the observations leave over for it.

    The vector holds log fx, log fy, cx, cy; the coefficients of distortion; breathing at all knots but the first (log
    scale in percent, shift in px); the bend; the rotations of all sweeps, and their translations.

    Attributes:
        knots: of breathing; 0 for none.
        bend, poses: where the bend and the poses begin in the vector.
        scales: of the unknowns: by how much each is expected to change.
    """

    def __init__(self, corners: Corners, board: Board, start: Camera, registrations: Registrations | None, bend: bool):
        self._corners, self._board, self._start, self._registrations = corners, board, start, registrations
        self._bends = bend
        self._count = int(corners.sweep.max()) + 1
        self.knots, self._terms = len(start.knots), COEFFICIENTS[start.model]
        self.bend = 4 + self._terms + 3 * max(self.knots - 1, 0)
        self.poses = self.bend + 3 * bend
        self._basis = breathing_basis(start, corners.focus) if self.knots else None
        self._both = None
        if self.knots and registrations is not None:
            self._both = [breathing_basis(start, registrations.focus[:, end]) for end in (0, 1)]
        self._prior = _prior(start)
        parts = [(2, 1e-2), (2, 1.0), (self._terms, 0.05), (self.bend - 4 - self._terms, 0.1), (3 * bend, 1e-3)]
        parts += [(3 * self._count, 1e-2), (3 * self._count, 1e-3)]
        self.scales = np.concatenate([np.full(count, scale) for count, scale in parts])

    def packed(self, poses: tuple[np.ndarray, np.ndarray]) -> npt.NDArray[np.float64]:
        """Return the vector to begin with."""
        start = self._start
        values = (start.values - start.values[:1])[1:] / (_PERCENT, 1, 1) if self.knots else np.zeros(0)
        return np.concatenate(
            [
                np.log(np.diag(start.K)[:2]),
                start.K[:2, 2],
                start.D,
                values.ravel(),
                start.bend if self._bends else np.zeros(0),
                poses[0].ravel(),
                poses[1].ravel(),
            ]
        )

    def unpacked(self, x: np.ndarray) -> tuple[Camera, np.ndarray, np.ndarray]:
        """Return camera, rotations and translations of a vector."""
        start = self._start
        fx, fy = np.exp(x[:2])
        K = np.array([[fx, 0, x[2]], [0, fy, x[3]], [0, 0, 1.0]])
        D = x[4 : 4 + self._terms]
        values = np.zeros((self.knots, 3))
        if self.knots:
            values[1:] = x[4 + self._terms : self.bend].reshape(-1, 3) * (_PERCENT, 1, 1)
        bow = x[self.bend : self.poses] if self._bends else np.zeros(3)
        turn, shift = x[self.poses :].reshape(2, self._count, 3)
        return Camera(start.size, K, start.model, D, start.reference, start.knots, values, bow), turn, shift

    def left(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what is left over of the corners, (M, 2) px, and of the registrations, (N, 3)."""
        camera, turn, shift = self.unpacked(x)
        at = self._corners.pixels - project(camera, self._board, self._corners, turn, shift, basis=self._basis)
        if self._both is None or self._registrations is None:
            return at, np.zeros((0, 3))
        before, after = (weights @ camera.values for weights in self._both)
        scale = np.exp(after[:, :1] - before[:, :1])
        moved = after[:, 1:] - scale * before[:, 1:]
        return at, self._registrations.steps - np.column_stack([np.log(scale), moved])

    def residuals(self, free: np.ndarray, known: np.ndarray, deviations: Deviations) -> npt.NDArray[np.float64]:
        """Return everything that is left over, in standard deviations: corners first, then registrations and priors.

        ``known`` is the part of the vector that is held, and ``free`` the rest.
        """
        x = np.concatenate([known, free])
        at, steps = self.left(x)
        camera = self.unpacked(x)[0]
        prior = [camera.D / self._prior]
        if self._bends:
            prior.append(camera.bend / _BEND_PRIOR)
        along = np.array(deviations)[1:][[0, 1, 1]]
        return np.concatenate([(at / deviations[0]).ravel(), (steps / along).ravel(), *prior])

    def jacobian(self, free: np.ndarray, known: np.ndarray, deviations: Deviations) -> npt.NDArray[np.float64]:
        """Return forward differences of the residuals by ``free``.

        A pose moves the corners of its own sweep only, so that the poses of all sweeps move at once.
        """
        before = self.residuals(free, known, deviations)
        matrix = np.zeros((len(before), len(free)))
        steps = 1e-6 * self.scales[len(known) :]
        poses = self.poses - len(known)
        for column in range(poses):
            moved = free.copy()
            moved[column] += steps[column]
            matrix[:, column] = (self.residuals(moved, known, deviations) - before) / steps[column]
        rows = np.repeat(self._corners.sweep, 2)  # of the residuals of corners
        for part in range(6):
            columns = poses + (part // 3) * 3 * self._count + 3 * np.arange(self._count) + part % 3
            moved = free.copy()
            moved[columns] += steps[columns]
            change = (self.residuals(moved, known, deviations) - before)[: len(rows)]
            matrix[np.arange(len(rows)), columns[rows]] = change / steps[columns[rows]]
        return matrix


def _placed(corners: Corners, board: Board, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return rotations and translations to begin with; raises InputError if the board cannot be placed."""
    known = []
    for sweep in range(int(corners.sweep.max()) + 1):
        pose = board_pose(camera, board, corners.chosen(corners.sweep == sweep))
        if pose is None:
            raise InputError(
                "The board cannot be placed in a sweep; show more of it, and hold it flatter to the camera."
            )
        known.append(pose)
    return np.array([turn for turn, _ in known]), np.array([shift for _, shift in known])


def _deviations(at: np.ndarray, steps: np.ndarray) -> Deviations:
    """Return the standard deviations of corners, log scales and shifts, as far as they are believed."""
    parts = [at, steps[:, 0], steps[:, 1:]]
    spreads = [1.4826 * float(np.median(np.abs(part))) if len(part) else 0.0 for part in parts]
    corner, scale, shift = (max(found, floor) for found, floor in zip(spreads, _FLOORS, strict=True))
    return corner, scale, shift


def _distance_spreads(board: Board, rotations: np.ndarray, covariance: np.ndarray) -> npt.NDArray[np.float64]:
    """Return the standard deviation of the distance of the board's middle in each sweep, metres.

    ``covariance`` ends with the rotations and the translations of all sweeps.
    """
    count = len(rotations)
    first = len(covariance) - 6 * count
    middle = np.array([*board.size, 0.0]) / 2
    spreads = []
    for sweep, rotation in enumerate(rotations):
        turn = cv2.Rodrigues(rotation)
        # Row-major (9, 3) change of the matrix by the rotation; its last row gives the distance.
        by_turn = np.einsum("rkj,k->rj", turn[1].reshape(3, 3, 3).transpose(1, 2, 0), middle)[2]
        gradient = np.array([*by_turn, 0.0, 0.0, 1.0])
        columns = [*(first + 3 * sweep + np.arange(3)), *(first + 3 * (count + sweep) + np.arange(3))]
        spreads.append(float(np.sqrt(max(gradient @ covariance[np.ix_(columns, columns)] @ gradient, 0.0))))
    return np.array(spreads)


def _prior(camera: Camera) -> npt.NDArray[np.float64]:
    """Return the standard deviation of each coefficient of a distortion before any image.

    Where no board reached the corners of the image, the highest terms would be anything that fits the middle.
    """
    if camera.model not in _PRIOR:
        return np.full(COEFFICIENTS[camera.model], _FREE)
    height, width = camera.size
    radius = math.hypot(width, height) / 2 / float(camera.K[0, 0])
    radius = min(max(radius, 0.1), 1.5)
    powers = (2, 4, 1, 1, 6) if camera.model == PLUMB_BOB else (2, 4, 6, 8)
    return np.array(_PRIOR[camera.model]) / radius ** np.array(powers, dtype=np.float64)
